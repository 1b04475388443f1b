/** Drawn icons; the button around one carries the words. */

const PATHS = {
  play: "M7 5v14l11-7z",
  pause: "M8 5v14M16 5v14",
  stop: "M6 6h12v12H6z",
  skip: "M6 5v14l9-7zM18 5v14",
  up: "M6 15l6-6 6 6",
  down: "M6 9l6 6 6-6",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  check: "M5 13l4 4L19 7",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
  grip: "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01",
  redo: "M20 12a8 8 0 1 1-3-6.2M20 4v5h-5",
  poll: "M6 20v-8M12 20V5M18 20v-5",
  quiz: "M9 9a3 3 0 1 1 4 3c-1 .5-1 1-1 2M12 18h.01",
  lottery: "M4 10h16v10H4zM12 10v10M4 10V7h16v3M12 7c-3 0-5-4-2-4 2 0 2 4 2 4s0-4 2-4c3 0 1 4-2 4",
  flash: "M13 3L5 14h6l-1 7 8-11h-6z",
  coupon: "M4 7h16v4a2 2 0 0 0 0 4v3H4v-3a2 2 0 0 0 0-4zM14 8v9",
  rain: "M7 15a4 4 0 1 1 1-8 5 5 0 0 1 9 2 3 3 0 0 1 0 6M8 18v2M12 17v3M16 18v2",
  redpacket: "M6 3h12v18H6zM6 8c4 3 8 3 12 0M12 10v3",
  notice: "M4 10v4h3l7 4V6l-7 4zM18 9c1 2 1 4 0 6",
  segment: "M5 21V4h12l-2 4 2 4H5",
  out: "M14 4h6v16h-6M4 12h11M11 8l4 4-4 4",
} as const;

export type IconName = keyof typeof PATHS;

/** An icon, silent for screen readers. */
export function Icon({ name }: { name: IconName }) {
  const solid = name === "play" || name === "stop";
  return (
    <svg class={solid ? "icon solid" : "icon"} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
