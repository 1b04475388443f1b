// A room on the ws package alone, which is the engine below Socket.IO: one loop over all viewers.
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

server.on("connection", (viewer) => {
  viewer.on("message", (data) => {
    for (const other of server.clients) {
      if (other.readyState === WebSocket.OPEN) other.send(data, { binary: false });
    }
  });
});

http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
