/** Signing in: by the link's token, or one that is pasted. */

import { endingOf } from "../errors";
import type { Field } from "../forms/fields";
import { Form } from "../forms/form";
import { refused } from "../room";
import { t } from "../texts";

const FIELDS: readonly Field[] = [
  { name: "room", label: ["Room", "直播间"], kind: "text", max: 64, pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$" },
  { name: "token", label: ["Token", "令牌"], kind: "area", max: 4096, help: ["Paste the token that you were given, or open the link with it.", "粘贴分配给你的令牌,或直接打开带令牌的链接。"] },
];

/** The screen of whoever is not in a room. */
export function SignIn({ room }: { room: string }) {
  const why = refused.value ? endingOf(refused.value) : "";
  const submit = async (d: Record<string, unknown>): Promise<undefined> => {
    const to = { room: String(d.room), token: String(d.token).replace(/\s/g, "") };
    const fragment = `#token=${encodeURIComponent(to.token)}`;
    history.replaceState(null, "", `${location.pathname}?room=${to.room}${language()}${fragment}`);
    location.reload(); // the address is what says who and where: it is read in one place
    return undefined;
  };
  return (
    <main class="alone">
      <h1>{t("console")}</h1>
      {why && (
        <p class="refusal" role="alert">
          {why}
        </p>
      )}
      <Form fields={FIELDS} given={{ room }} submit={t("enter")} onSubmit={submit} />
    </main>
  );
}

function language(): string {
  const lang = new URLSearchParams(location.search).get("lang");
  return lang ? `&lang=${encodeURIComponent(lang)}` : "";
}
