/** A red packet: a countdown, one tap, and what was in it. */

import { useSignal } from "@preact/signals";
import { count, money } from "../../shared/format";
import { grab } from "../acts";
import { Countdown } from "../clock";
import { packetsGot } from "../mine";
import { nameOf } from "../names";
import { t } from "../texts";
import type { Packet } from "../wire";
import { Card } from "./card";

export function PacketCard({ id, packet }: { id: string; packet: Packet }) {
  const title = t("packetFrom", { name: nameOf(packet.user) });
  const aside = packet.status === "countdown" ? <Countdown until={packet.starts_ms} />
    : packet.status === "open" ? <Countdown until={packet.ends_ms} /> : null;
  return (
    <Card id={id} kind="packet" icon="packet" label={t("packet")} title={title} aside={aside} done={packet.status === "done"}>
      <Envelope packet={packet} />
      {packet.status !== "countdown" && (
        <p class="quiet">{t("sharesLeft", { n: count(packet.left), total: count(packet.shares) })}</p>
      )}
      {packet.status === "done" && <Done packet={packet} />}
    </Card>
  );
}

function Envelope({ packet }: { packet: Packet }) {
  const busy = useSignal(false);
  const got = packetsGot.value[packet.packet];
  const press = async (): Promise<void> => {
    busy.value = true;
    await grab(packet.packet);
    busy.value = false;
  };
  if (got !== undefined) return <p class="envelope got"><b class="won">{t("grabbed", { amount: money(got) })}</b></p>;
  if (packet.status === "done" || packet.left === 0) return <p class="envelope gone">{t("packetGone")}</p>;
  if (packet.status === "countdown") {
    return <p class="envelope"><b>{money(packet.total)}</b> <span>{t("opensIn")} <Countdown until={packet.starts_ms} /></span></p>;
  }
  return (
    <div class="envelope">
      <b>{money(packet.total)}</b>
      <button type="button" class="seal" disabled={busy.value} onClick={() => void press()}>{t("open")}</button>
    </div>
  );
}

function Done({ packet }: { packet: Packet }) {
  return (
    <>
      {packet.best && <p>{t("bestLuck", { name: nameOf(packet.best.user), amount: money(packet.best.amount) })}</p>}
      {Boolean(packet.refunded) && <p class="quiet">{t("returned", { amount: money(packet.refunded ?? 0) })}</p>}
    </>
  );
}
