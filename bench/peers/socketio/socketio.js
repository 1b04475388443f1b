// A room on Socket.IO with its default options: what one viewer emits, all in the room are emitted.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  socket.join("room");
  socket.on("danmaku", (text) => io.to("room").emit("danmaku", text));
});

http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
