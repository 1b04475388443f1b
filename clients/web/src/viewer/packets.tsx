/** Money for whoever is quick: a red packet out of one's wallet, where the room has them. */

import { signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { minor } from "../shared/format";
import { mayHavePackets, sendPacket } from "./acts";
import { onReset } from "./room";
import { t } from "./texts";

/** Whether the room has them; undefined: nobody has asked. */
const offered = signal<boolean | undefined>(undefined);
onReset(() => { offered.value = undefined; });

async function look(): Promise<void> {
  offered.value ??= await mayHavePackets();
}

export function SendPacket() {
  const total = useSignal("");
  const shares = useSignal("5");
  const busy = useSignal(false);
  useEffect(() => void look(), []);
  if (!offered.value) return null;
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    const sent = await sendPacket(minor(total.value), Number(shares.value));
    busy.value = false;
    if (sent === "sent") total.value = "";
    if (sent === "not_allowed") offered.value = false;
  };
  return (
    <form class="packet-form" onSubmit={(event) => void send(event)}>
      <h3>{t("packet")}</h3>
      <label>
        {t("packetTotal")}
        <input inputMode="decimal" required pattern="\d{1,6}(\.\d{1,2})?" placeholder="10.00" value={total} onInput={(event) => { total.value = event.currentTarget.value; }} />
      </label>
      <label>
        {t("packetShares")}
        <input inputMode="numeric" required pattern="[1-9]\d{0,3}" value={shares} onInput={(event) => { shares.value = event.currentTarget.value; }} />
      </label>
      <button type="submit" class="main" disabled={busy.value}>{t("packetSend")}</button>
    </form>
  );
}
