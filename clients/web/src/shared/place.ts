/** Where the page is: room, name and token from its address. */

export interface Place {
  room: string;
  /** The name that a guest goes by; empty: a random one is made and kept. */
  name: string;
  /** A signed token, or `guest:NAME` on a server in development. */
  token: string;
}

const KEPT = "liveroom.token";

/**
 * Read `?room=&name=` and `#token=`.
 *
 * A token leaves the address bar at once (addresses are copied and logged) and is kept for this tab
 * and room alone.
 */
export function place(): Place {
  const query = new URLSearchParams(location.search);
  const room = query.get("room") ?? "demo";
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  const slot = `${KEPT}:${location.pathname}:${room}`;
  if (given) {
    sessionStorage.setItem(slot, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const name = query.get("name") ?? "";
  return { room, name, token: given ?? sessionStorage.getItem(slot) ?? "" };
}

/** The guest token of a name; without one, a name is made and kept in this browser. */
export function guestToken(name: string): string {
  const kept = name || localStorage.getItem("liveroom.name") || `guest-${randomDigits()}`;
  if (!name) localStorage.setItem("liveroom.name", kept);
  return `guest:${kept}`;
}

function randomDigits(): string {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000).padStart(6, "0");
}
