/** Going live: a room that is not open yet. */

import { send } from "../act";
import { faceOf, OPEN } from "../activities/setup";
import { wordsOf } from "../errors";
import { Form } from "../forms/form";
import { atLeast } from "../room";
import type { RoomState } from "../shapes";
import { t } from "../texts";

/** The form that opens the room, or word that a host has to. */
export function GoLive({ room }: { room: RoomState | undefined }) {
  const open = async (d: Record<string, unknown>): Promise<string | undefined> => {
    try {
      await send({ op: OPEN.op, d });
      return undefined;
    } catch (error) {
      return wordsOf(error);
    }
  };
  return (
    <main class="alone">
      <h2>{atLeast("host") ? t("goLive") : t("closedRoom")}</h2>
      {atLeast("host") ? (
        <Form fields={OPEN.fields} given={faceOf(room)} submit={t("goLive")} onSubmit={open}>
          <p class="help">{t("goLiveHelp")}</p>
        </Form>
      ) : (
        <p>{t("waitHost")}</p>
      )}
    </main>
  );
}
