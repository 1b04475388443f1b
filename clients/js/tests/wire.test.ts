// Real sockets, and a server that lies about lengths, says junk, stalls or breaks off. The client
// must get over it: the same server then behaves, and is joined. Its clock runs 100 times as fast.

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import WebSocket, { WebSocketServer, type ServerSocket } from "ws";

import { LiveRoom, type LiveOptions } from "../src/index.js";
import { decode, encode } from "../src/msgpack.js";
import { durable, greeting } from "./rig.js";

const SPEED = 100;
const FAST: Partial<LiveOptions> = {
  WebSocket,
  now: () => performance.now() * SPEED,
  setTimeout: (fn, ms) => setTimeout(fn, ms / SPEED),
  random: () => 0.5,
};

type Behaviour = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

let server: Server;
let webSockets: WebSocketServer;
let visits: number;
let badly: Behaviour;
const open = new Set<Socket>();

/** Behave badly twice, then as a server should. */
beforeEach(async () => {
  visits = 0;
  server = createServer();
  webSockets = new WebSocketServer({ noServer: true });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("error", () => {});
  });
  server.on("upgrade", (request, socket, head) => {
    if (++visits <= 2) badly(request, socket as Socket, head);
    else webSockets.handleUpgrade(request, socket, head, welcome);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(() => {
  for (const socket of open) socket.destroy();
  open.clear();
  server.close();
});

function welcome(socket: ServerSocket): void {
  socket.on("error", () => {});
  socket.on("message", (data) => {
    const { op, id } = decode(data) as { op: string; id: number };
    if (op === "hello") socket.send(encode([{ re: id, d: greeting({ seq: 4 }) }, durable(5)]));
    if (op === "poll.vote") socket.send(encode([{ re: id, d: { options: [1] } }]));
  });
}

/** After the handshake and, if so wished, a good greeting. */
function upgraded(act: (raw: Socket, socket: ServerSocket) => void, greeted = true): Behaviour {
  return (request, socket, head) =>
    webSockets.handleUpgrade(request, socket, head, (accepted) => {
      if (greeted) welcome(accepted);
      accepted.on("error", () => {});
      accepted.on("message", () => act(accepted._socket, accepted));
    });
}

const BEHAVIOURS: Record<string, Behaviour> = {
  "never answers the handshake": () => {},
  "hangs up": (_, socket) => socket.destroy(),
  "answers with 503": (_, socket) => socket.end("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n"),
  "does not speak HTTP": (_, socket) => socket.end("\u0000\u0001 junk junk\r\n\r\n"),
  "never ends its handshake": (_, socket) =>
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"),
  "accepts and says nothing": upgraded(() => {}, false),
  "claims 2^63 bytes": upgraded((raw) => raw.write(Buffer.from([0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0, 1]))),
  "claims 60 MB and sends three bytes": upgraded((raw) =>
    raw.write(Buffer.from([0x82, 0x7f, 0, 0, 0, 0, 3, 0x93, 0x87, 0, 1, 2, 3])),
  ),
  "sets reserved bits": upgraded((raw) => raw.write(Buffer.from([0xf2, 0x01, 0x90]))),
  "sends a ping of 200 bytes": upgraded((raw) =>
    raw.write(Buffer.concat([Buffer.from([0x89, 0x7e, 0, 200]), Buffer.alloc(200)])),
  ),
  "sends text where binary was agreed": upgraded((_, socket) => socket.send("[]")),
  "sends a list of four thousand million": upgraded((_, socket) =>
    socket.send(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)),
  ),
  "sends lists in lists in lists": upgraded((_, socket) => socket.send(new Uint8Array(500_000).fill(0x91))),
  "sends 200 kB of noise": upgraded((_, socket) =>
    socket.send(Uint8Array.from({ length: 200_000 }, (_value, i) => (i * 7919) & 0xff)),
  ),
  "breaks off in the middle of a frame": upgraded((raw) =>
    raw.end(Buffer.from([0x82, 0x7e, 0x10, 0x00, 1, 2])),
  ),
  "greets with junk": upgraded((_, socket) => socket.send(encode([{ re: 1, d: { epoch: 7 } }])), false),
  "closes with an unknown code": upgraded((_, socket) => socket.close(4321)),
};

test.each(Object.entries(BEHAVIOURS))("a server that %s", async (_, behaviour) => {
  badly = behaviour;
  const { port } = server.address() as AddressInfo;
  const live = new LiveRoom({ url: `ws://127.0.0.1:${port}/ws`, room: "demo", heartbeatMs: 5_000, ...FAST });
  await live.join();
  while (visits < 3 || live.state.status !== "live") await live.once("sdk.status");
  expect(await live.vote("p", [1])).toEqual({ options: [1] });
  expect(live.state.seq).toBe(5);
  await live.close();
});

test("a handshake that is refused for good is not tried again", async () => {
  badly = (_, socket) => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  const { port } = server.address() as AddressInfo;
  const live = new LiveRoom({ url: `ws://127.0.0.1:${port}/ws`, room: "demo", ...FAST });
  await expect(live.join()).rejects.toMatchObject({ code: "closed" });
  expect(visits).toBe(1);
});
