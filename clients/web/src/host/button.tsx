/** Buttons that know who may press them, and say so. */

import type { ComponentChildren } from "preact";
import { busy } from "./act";
import { Icon, type IconName } from "./icon";
import { atLeast, me, type Role } from "./room";
import { type Text, t } from "./texts";

export interface ButtonProps {
  onClick: () => void;
  children?: ComponentChildren;
  /** The least role; the room's own rule, shown before it is broken. */
  role?: Role | undefined;
  /** Waits while this command is on its way. */
  op?: string | undefined;
  tone?: "plain" | "main" | "danger" | "quiet" | undefined;
  icon?: IconName | undefined;
  /** What it is called, where its content is an icon alone. */
  label?: string | undefined;
  /** Why it cannot be pressed now. */
  off?: string | undefined;
  pressed?: boolean | undefined;
  expanded?: boolean | undefined;
}

/** Why somebody of one's role may not; empty: one may. */
export function reasonAgainst(role: Role | undefined): string {
  if (!role || atLeast(role)) return "";
  return t("needsRole", { role: roleText(role), mine: roleText(me.value?.role ?? "viewer") });
}

/** A role in words. */
export function roleText(role: Role): string {
  return t(`roleOf_${role}` as Text);
}

/**
 * A button. One that may not be pressed stays reachable, so that its reason can be read; it is not
 * `disabled`, which would hide the reason from keyboards and screen readers.
 */
export function Button(props: ButtonProps) {
  const { onClick, children, role, op, tone = "plain", icon, label, pressed, expanded } = props;
  const reason = reasonAgainst(role) || props.off || "";
  const waits = op !== undefined && busy.value.has(op);
  return (
    <button
      type="button"
      class={`button ${tone}${children ? "" : " bare"}`}
      aria-disabled={reason ? "true" : undefined}
      aria-busy={waits ? "true" : undefined}
      aria-label={reason && label ? `${label} (${reason})` : label}
      aria-pressed={pressed}
      aria-expanded={expanded}
      title={reason || label}
      onClick={() => reason || waits || onClick()}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
