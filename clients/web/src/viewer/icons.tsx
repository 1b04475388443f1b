/** The page's own drawings: 24 by 24, in the colour of the text unless they have their own. */

const LINES = {
  heart: "M12 20.500C5.800 15.700 3 12.300 3 8.700 3 6 5.100 4 7.600 4c1.800 0 3.400 1 4.400 2.700C13 5 14.600 4 16.400 4 18.900 4 21 6 21 8.700c0 3.600-2.800 7-9 11.800z",
  bag: "M5 8h14l1 12.500H4zM8.500 10.500V7a3.500 3.500 0 0 1 7 0v3.500",
  gift: "M4 9h16v4H4zM5.500 13v8h13v-8M12 9v12M12 9C9.500 9 7 8 7 6s3.500-2.500 5 3c1.500-5.500 5-5 5-3s-2.500 3-5 3z",
  question: "M4 5h16v12h-7l-4.500 4v-4H4zM9.800 9.200c.2-2.600 4.600-2.500 4.500 0 0 1.700-2.200 1.700-2.200 3.200M12.100 14.800v.1",
  crown: "M4 18h16M4.500 15 3 7l5 3.500L12 5l4 5.500L21 7l-1.500 8z",
  wallet: "M4 7.500V18a2 2 0 0 0 2 2h13a1 1 0 0 0 1-1V9a1 1 0 0 0-1-1H5.500A1.500 1.500 0 0 1 5.500 5H18v3M16 14h.1",
  share: "M12 15V4M8 7.500 12 3.500l4 4M5 12v7.500h14V12",
  send: "M4 11.500 20.500 4 14 20.500l-3-6.500zM11 14l9.500-10",
  close: "M6 6l12 12M18 6 6 18",
  down: "M6 9.500l6 6 6-6",
  up: "M6 14.500l6-6 6 6",
  bolt: "M13 2.500 5 14h6l-1 7.500L18.500 10h-6z",
  bars: "M4 20V11h4v9zM10 20V4h4v16zM16 20v-6h4v6z",
  bulb: "M9 18h6M10 21h4M12 3a6 6 0 0 0-3.500 10.900c.6.500 1 1.100 1 2.100h5c0-1 .4-1.600 1-2.100A6 6 0 0 0 12 3z",
  ticket: "M3.500 7h17v3.500a1.800 1.800 0 0 0 0 3.500v3.500h-17V14a1.800 1.800 0 0 0 0-3.500zM14.500 7v10.500",
  packet: "M5.500 3h13v18h-13zM5.500 6.500c3 4 10 4 13 0M12 9.500a2.200 2.200 0 1 0 0 4.400 2.200 2.200 0 0 0 0-4.400z",
  megaphone: "M4 10v4h3l8 4.500v-13L7 10zM18 9.500a4 4 0 0 1 0 5M7.500 14l1.500 6h2.500l-1.300-5",
  eye: "M2.500 12C5 7.500 8.300 5.500 12 5.500s7 2 9.500 6.500c-2.500 4.500-5.800 6.500-9.500 6.500S5 16.500 2.500 12zM12 9.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600z",
  check: "M5 12.500l4.500 4.500L19.500 7",
  plus: "M12 5v14M5 12h14",
  shield: "M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6zM8.500 12l2.500 2.500 4.500-5",
  fly: "M3 7h11M6 12h15M3 17h9M17.500 7h.1M15.500 17h.1",
  dice: "M4.500 4.500h15v15h-15zM9 9h.1M15 15h.1M12 12h.1M15 9h.1M9 15h.1",
  sound: "M4 9.500v5h3.500L12 19V5L7.500 9.500zM15.500 9a4 4 0 0 1 0 6M18 6.500a7.500 7.500 0 0 1 0 11",
  link: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
} as const;

export type IconName = keyof typeof LINES;

/** A line drawing; it says nothing by itself, so what it stands in needs a name. */
export function Icon({ name, filled = false }: { name: IconName; filled?: boolean }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={LINES[name]} fill={filled ? "currentColor" : "none"} stroke="currentColor"
        stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

const HEART = "M12 20.500C5.800 15.700 3 12.300 3 8.700 3 6 5.100 4 7.600 4c1.800 0 3.400 1 4.400 2.700C13 5 14.600 4 16.400 4 18.900 4 21 6 21 8.700c0 3.600-2.800 7-9 11.800z";

/** A gift in its own colours; one that the page does not know is a box with a bow. */
export function GiftIcon({ id }: { id: string }) {
  return <svg class="icon gift-icon" viewBox="0 0 24 24" aria-hidden="true">{drawing(id)}</svg>;
}

function drawing(id: string) {
  if (id === "rose") {
    return (
      <>
        <path d="M12 12v10M12 19c-3 0-4.500-1.500-5-3.500M12 17c2.500 0 4-1 4.500-3" fill="none" stroke="#2f9e5b" stroke-width="2" stroke-linecap="round" />
        <path d="M12 1.500c1.700 0 2.800.9 3.400 2 1.600.2 2.600 1.500 2.600 3.300 0 3.500-2.700 6.200-6 6.200s-6-2.700-6-6.200c0-1.800 1-3.100 2.600-3.300.6-1.100 1.700-2 3.400-2z" fill="#e5345f" />
        <path d="M9.500 6.200c.8-1.600 4.300-1.700 5 .1.5 1.600-1.300 2.900-2.700 2.300-1-.4-1-1.700.1-1.900" fill="none" stroke="#ffd3de" stroke-width="1.300" stroke-linecap="round" />
      </>
    );
  }
  if (id === "heart") {
    return (
      <>
        <path d={HEART} fill="#ff5c8a" />
        <path d="M5.800 9c-.2-1.900.8-3.100 2.300-3.300" fill="none" stroke="#ffe1ea" stroke-width="1.600" stroke-linecap="round" />
      </>
    );
  }
  if (id === "rocket") {
    return (
      <>
        <path d="M9.200 16.500h5.600L12 23z" fill="#f59f3a" />
        <path d="M7.500 12 4 15.500V19l4.500-2.500zM16.500 12l3.500 3.500V19l-4.500-2.500z" fill="#4c6ef5" />
        <path d="M12 1c3 2.500 4.500 6 4.500 9.500 0 2.500-.6 4.600-1.500 6.500H9c-.9-1.900-1.500-4-1.500-6.500C7.500 7 9 3.500 12 1z" fill="#dfe6ff" stroke="#8ea2f0" stroke-width=".8" />
        <circle cx="12" cy="9" r="2.100" fill="#4c6ef5" />
      </>
    );
  }
  return (
    <>
      <path d="M3 8h18v4H3zM4.500 13.500h15V21h-15z" fill="#8b5cf6" />
      <path d="M10.700 8h2.600v13h-2.600zM12 8C9 8 6.500 7 6.500 5S9.500 2.500 12 6.500C14.500 2.500 17.500 3 17.500 5S15 8 12 8z" fill="#f6c945" />
    </>
  );
}
