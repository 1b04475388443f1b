// The sockets themselves: the one place that touches a WebSocket.

import type { Data } from "./codec.js";

/** What happens to a connection, by its number. */
export interface SocketEvents {
  opened(id: number): void;
  received(id: number, data: unknown): void;
  /** `httpStatus`: what the handshake was answered with, where the WebSocket class tells. */
  closed(id: number, code: number, reason: string, httpStatus?: number): void;
}

// A URL that no WebSocket takes: the number of a close after which nobody comes back.
const BAD_URL = 1010;

const nothing = (): void => {};

export class Sockets {
  readonly #open = new Map<number, WebSocket>();
  readonly #closing = new Set<WebSocket>();
  readonly #url: string;
  readonly #subprotocol: string;
  readonly #class: typeof WebSocket;
  readonly #events: SocketEvents;
  #settled = nothing;

  constructor(url: string, subprotocol: string, webSocket: typeof WebSocket, events: SocketEvents) {
    this.#url = url;
    this.#subprotocol = subprotocol;
    this.#class = webSocket;
    this.#events = events;
  }

  open(id: number): void {
    let socket: WebSocket;
    try {
      socket = new this.#class(this.#url, this.#subprotocol);
    } catch (error) {
      queueMicrotask(() => this.#events.closed(id, BAD_URL, String(error)));
      return;
    }
    this.#open.set(id, socket);
    this.#attach(id, socket);
  }

  #attach(id: number, socket: WebSocket): void {
    let status: number | undefined;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#events.opened(id);
    socket.onmessage = (message) => this.#events.received(id, message.data);
    socket.onerror = (event) => {
      status = statusOf(event);
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#open.delete(id)) this.#events.closed(id, code, reason, status);
    };
  }

  send(id: number, data: Data): void {
    const socket = this.#open.get(id);
    // One that closes takes nothing more; its close event is on the way.
    if (socket?.readyState === 1) socket.send(data);
  }

  /** Close a socket; nothing is heard of it any more. */
  shut(id: number, code: number): void {
    const socket = this.#open.get(id);
    if (!socket) return;
    this.#open.delete(id);
    socket.onopen = socket.onmessage = null;
    socket.onerror = nothing; // in Node an error without a listener is thrown
    socket.onclose = () => this.#gone(socket);
    this.#closing.add(socket);
    socket.close(code);
  }

  #gone(socket: WebSocket): void {
    this.#closing.delete(socket);
    if (this.#closing.size === 0) this.#settled();
  }

  /** Resolves when all sockets that were shut are closed. */
  settled(): Promise<void> {
    if (this.#closing.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#settled = resolve;
    });
  }
}

// Browsers tell nothing; the package `ws` has the status in its message.
function statusOf(event: Event): number | undefined {
  const message = (event as { message?: unknown }).message;
  const found = typeof message === "string" ? /server response: (\d{3})/.exec(message) : null;
  return found ? Number(found[1]) : undefined;
}
