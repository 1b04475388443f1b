/** What viewers may do: the room's mode, and with the moderation plugin how they may speak. */

import { busy, present, run } from "../act";
import { Button, reasonAgainst } from "../button";
import { state } from "../room";
import { type Pair, say } from "../say";
import type { ModeState, ModState } from "../shapes";
import { t } from "../texts";

const TITLE: Pair = ["Viewers may", "观众权限"];

/** Switches of the room. */
export function Modes() {
  const mode = state<ModeState>("mode").value;
  if (!mode) return null;
  const change = (d: object, name: Pair): void =>
    void run({ op: "room.mode", d, sees: "mode", name: say(name) });
  const all = mode.talk === "all";
  return (
    <section class="panel modes" aria-labelledby="modes">
      <h2 id="modes">{t("controls")}</h2>
      <h3>{say(TITLE)}</h3>
      <div class="switches">
        <Switch label={["Talk", "发言"]} on={all} onChange={(on) => change({ talk: on ? "all" : "hosts" }, TITLE)} op="room.mode" />
        <Switch label={["Like", "点赞"]} on={mode.like} onChange={(like) => change({ like }, TITLE)} op="room.mode" />
        <Switch label={["Gifts", "送礼"]} on={mode.gift} onChange={(gift) => change({ gift }, TITLE)} op="room.mode" />
      </div>
      {present.value.mod && <Moderation />}
    </section>
  );
}

const NONE: ModState = { slow_s: 0, followers: false, level: 0, emote_only: false, unique: false, filter: 2 };
const SLOW = [0, 3, 5, 10, 30, 60, 120, 300];
const FILTERS: readonly Pair[] = [
  ["nothing", "不过滤"],
  ["little", "宽松"],
  ["normal", "标准"],
  ["strict", "严格"],
  ["everything", "最严"],
];
const SPEAK: Pair = ["Talk is limited to", "发言限制"];

function Moderation() {
  const mod = state<ModState>("mod").value ?? NONE;
  const change = (d: object): void => void run({ op: "mod.mode", d, sees: "mod", name: say(SPEAK) });
  const slow = SLOW.includes(mod.slow_s) ? SLOW : [...SLOW, mod.slow_s].sort((a, b) => a - b);
  return (
    <>
      <h3>{say(SPEAK)}</h3>
      <div class="switches">
        <Switch label={["Followers", "仅粉丝"]} on={mod.followers} onChange={(followers) => change({ followers })} op="mod.mode" />
        <Switch label={["Emotes", "仅表情"]} on={mod.emote_only} onChange={(emote_only) => change({ emote_only })} op="mod.mode" />
        <Switch label={["No repeats", "禁止重复"]} on={mod.unique} onChange={(unique) => change({ unique })} op="mod.mode" />
      </div>
      <div class="pickers">
        <Pick
          label={["Slow mode", "慢速模式"]}
          value={mod.slow_s}
          choices={slow.map((s) => [s, s ? say(["{s} s", "{s} 秒"], { s }) : say(["off", "关闭"])])}
          onChange={(slow_s) => change({ slow_s })}
        />
        <Pick
          label={["Word filter", "敏感词过滤"]}
          value={mod.filter}
          choices={FILTERS.map((pair, at) => [at, say(pair)])}
          onChange={(filter) => change({ filter })}
        />
      </div>
    </>
  );
}

function Switch(props: { label: Pair; on: boolean; onChange: (on: boolean) => void; op: string }) {
  return (
    <Button role="moderator" op={props.op} pressed={props.on} onClick={() => props.onChange(!props.on)}>
      <span class="knob" />
      {say(props.label)}
    </Button>
  );
}

interface PickProps {
  label: Pair;
  value: number;
  choices: readonly (readonly [number, string])[];
  onChange: (value: number) => void;
}

function Pick({ label, value, choices, onChange }: PickProps) {
  const reason = reasonAgainst("moderator");
  return (
    <label title={reason || undefined}>
      {say(label)}
      <select
        disabled={reason !== "" || busy.value.has("mod.mode")}
        value={String(value)}
        onChange={(event) => onChange(Number(event.currentTarget.value))}
      >
        {choices.map(([key, text]) => (
          <option key={key} value={String(key)} selected={key === value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
