// As much of the package `ws` as the tests use.
declare module "ws" {
  import type { Server, Socket } from "node:net";

  export class WebSocketServer {
    constructor(options: { noServer: true; handleProtocols?: (offered: Set<string>) => string });
    handleUpgrade(
      request: unknown,
      socket: unknown,
      head: unknown,
      done: (socket: ServerSocket) => void,
    ): void;
    close(): void;
  }

  export interface ServerSocket {
    _socket: Socket;
    send(data: string | Uint8Array): void;
    close(code: number): void;
    on(event: "message", listener: (data: Buffer) => void): void;
    on(event: "error", listener: () => void): void;
  }

  const WebSocket: typeof globalThis.WebSocket & { Server: Server };
  export default WebSocket;
}
