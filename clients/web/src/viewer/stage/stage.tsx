/** The stage: the stream, or a drawn shop while there is none; danmaku and hearts over it. */

import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../icons";
import { httpsOnly } from "../links";
import { me, onDanmaku, onLike, onReset, onWave, room } from "../room";
import { t } from "../texts";
import type { Danmaku } from "../wire";
import { Combos } from "./combos";
import { Hearts } from "./hearts";
import { Player } from "./player";
import { PacketRain } from "./rain";
import { Scene } from "./scene";
import "./stage.css";

/** Whether messages fly; the list has them all the same. */
export const flying = signal(!matchMedia("(prefers-reduced-motion: reduce)").matches);

/** How many messages found no room on this screen. */
export const dropped = signal(0);

let hearts: Hearts | undefined;

/** Let hearts rise for this viewer's own taps. */
export const rise = (n: number): void => hearts?.rise(n);

export function Stage() {
  const [broken, setBroken] = useState("");
  const url = httpsOnly(room.value?.stream);
  return (
    <section class="stage" aria-label={t("stage")}>
      {url && url !== broken ? <Video url={url} onBroken={() => setBroken(url)} /> : <Scene />}
      <div class="shade" />
      <Flying />
      <Rising />
      <PacketRain />
      <Combos />
    </section>
  );
}

function Video({ url, onBroken }: { url: string; onBroken: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [muted, setMuted] = useState(true);
  return (
    <>
      <video ref={video} class="video" src={url} muted={muted} autoplay playsInline onError={onBroken} />
      {muted && (
        <button type="button" class="chip sound" onClick={() => setMuted(false)}>
          <Icon name="sound" /> {t("sound")}
        </button>
      )}
    </>
  );
}

function Flying() {
  const box = useRef<HTMLDivElement>(null);
  const player = useRef<Player>(undefined);
  useEffect(() => {
    const made = new Player(box.current!);
    player.current = made;
    const off = onDanmaku((d) => {
      made.take(d, d.user.id === me.value.id);
      if (made.dropped === dropped.value) return;
      dropped.value = made.dropped;
      box.current!.dataset["dropped"] = String(made.dropped);
    });
    const offWave = onWave(({ text, n }) => made.take(wave(text, n), false));
    return () => { off(); offWave(); made.destroy(); };
  }, []);
  useSignalEffect(() => player.current?.show(flying.value));
  return <div ref={box} class="flying" aria-hidden="true" />;
}

function wave(text: string, n: number): Danmaku {
  return { id: "", user: { id: "", name: "" }, text: n > 1 ? `${text} ×${n}` : text, mode: "scroll", color: 0xffffff };
}

function Rising() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const made = new Hearts(canvas.current!);
    hearts = made;
    const off = onLike((d) => { if (d.user !== me.value.id) made.rise(Math.min(d.n, 3)); });
    return () => { off(); made.destroy(); hearts = undefined; };
  }, []);
  return <canvas ref={canvas} class="hearts" aria-hidden="true" />;
}

onReset(() => { dropped.value = 0; });
