/** A shop stage, drawn, for rooms without a stream: lamps sway, dust floats, goods stand on plinths. */

const MOTES = 6;

/**
 * The still part is one picture, painted once; what moves lies over it in layers of its own, so that
 * moving costs no painting.
 */
export function Scene() {
  return (
    <div class="scene" aria-hidden="true">
      <svg class="scene-still" viewBox="0 40 600 600" preserveAspectRatio="xMidYMid slice">
        <Paints />
        <rect width="600" height="700" fill="url(#wall)" />
        <Slats />
        <Neon />
        <path d="M168 452V264a132 132 0 0 1 264 0v188z" fill="url(#niche)" />
        <rect y="452" width="600" height="248" fill="url(#floor)" />
        <Plinths />
        <Bag /><Bottle /><Jar />
      </svg>
      <div class="beam beam-a" />
      <div class="beam beam-b" />
      {Array.from({ length: MOTES }, (_, i) => <i key={i} class={`mote mote-${i}`} />)}
    </div>
  );
}

function Neon() {
  const arch = "M150 452V262a150 150 0 0 1 300 0v190";
  return (
    <g fill="none">
      <path d={arch} stroke="#ff5c7a" stroke-width="22" opacity=".12" />
      <path d={arch} stroke="#ff7d8f" stroke-width="9" opacity=".22" />
      <path d={arch} stroke="#ffd9dc" stroke-width="2.500" />
    </g>
  );
}

function Paints() {
  const stop = (at: string, color: string, opacity = 1) => <stop offset={at} stop-color={color} stop-opacity={opacity} />;
  return (
    <defs>
      <linearGradient id="wall" x2="0" y2="1">{stop("0", "#221325")}{stop(".55", "#4a1f3d")}{stop("1", "#1b0f1e")}</linearGradient>
      <linearGradient id="niche" x2="0" y2="1">{stop("0", "#7c2f4e")}{stop("1", "#b4525a")}</linearGradient>
      <linearGradient id="floor" x2="0" y2="1">{stop("0", "#54233f")}{stop(".25", "#2a1428")}{stop("1", "#140b17")}</linearGradient>
      <linearGradient id="plinth" x2="1">{stop("0", "#f3d9cf")}{stop(".5", "#fff4ec")}{stop("1", "#d9aaa4")}</linearGradient>
      <linearGradient id="top" x2="1">{stop("0", "#fff")}{stop("1", "#f6ded6")}</linearGradient>
      <linearGradient id="glass" x2="1">{stop("0", "#ffb27a")}{stop(".45", "#ffe3c4")}{stop("1", "#e07a5f")}</linearGradient>
      <linearGradient id="leather" x2="1" y2="1">{stop("0", "#ffd166")}{stop("1", "#e09f3e")}</linearGradient>
      <linearGradient id="pot" x2="1">{stop("0", "#6fb7b0")}{stop(".4", "#c5ece6")}{stop("1", "#3d8b87")}</linearGradient>
      <radialGradient id="pool">{stop("0", "#ffdcb8", 0.5)}{stop("1", "#ffdcb8", 0)}</radialGradient>
    </defs>
  );
}

function Slats() {
  return (
    <g opacity=".5">
      {Array.from({ length: 15 }, (_, i) => (
        <rect key={i} x={i * 41 + 4} width="2" height="452" fill={i % 2 ? "#5d2a4d" : "#2e1730"} />
      ))}
    </g>
  );
}

function Plinth({ x, y, width }: { x: number; y: number; width: number }) {
  const half = width / 2;
  return (
    <>
      <path d={`M${x - half} ${y}V505a${half} 13 0 0 0 ${width} 0V${y}z`} fill="url(#plinth)" />
      <ellipse cx={x} cy={y} rx={half} ry="13" fill="url(#top)" />
    </>
  );
}

function Plinths() {
  return (
    <g>
      <ellipse cx="300" cy="516" rx="240" ry="46" fill="url(#pool)" />
      <Plinth x={206} y={446} width={92} />
      <Plinth x={394} y={456} width={92} />
      <Plinth x={300} y={400} width={112} />
    </g>
  );
}

function Bottle() {
  return (
    <g>
      <rect x="287" y="286" width="26" height="24" rx="4" fill="#3a1b30" />
      <rect x="292" y="308" width="16" height="12" fill="#e9c9a8" />
      <rect x="264" y="318" width="72" height="82" rx="14" fill="url(#glass)" />
      <rect x="272" y="326" width="9" height="64" rx="4.500" fill="#fff" opacity=".6" />
      <rect x="284" y="346" width="34" height="26" rx="3" fill="#fff8f0" opacity=".85" />
      <path d="M291 359h20" stroke="#b4525a" stroke-width="2" />
    </g>
  );
}

function Bag() {
  return (
    <g>
      <path d="M186 404c0-36 40-36 40 0" fill="none" stroke="#8a5a1c" stroke-width="5" />
      <path d="M171 400h70l7 46h-84z" fill="url(#leather)" />
      <path d="M171 400h70l-5 14h-60z" fill="#c98a2b" opacity=".55" />
      <circle cx="206" cy="414" r="4.500" fill="#fff4d6" />
    </g>
  );
}

function Jar() {
  return (
    <g>
      <rect x="368" y="412" width="52" height="44" rx="9" fill="url(#pot)" />
      <rect x="364" y="398" width="60" height="17" rx="6" fill="#fdf3e7" />
      <rect x="374" y="420" width="6" height="28" rx="3" fill="#fff" opacity=".55" />
    </g>
  );
}
