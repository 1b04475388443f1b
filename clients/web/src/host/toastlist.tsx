/** Messages at the screen's edge. */

import { Button } from "./button";
import { t } from "./texts";
import { dismiss, type Toast, toasts } from "./toasts";

/** All that are shown. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite" aria-label={t("messages")}>
      {toasts.value.map((toast) => (
        <One key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function One({ toast }: { toast: Toast }) {
  return (
    <div class={`toast ${toast.tone}`}>
      <span>{toast.text}</span>
      {toast.undo && <Button onClick={toast.undo}>{t("undo")}</Button>}
      {toast.go && <Button onClick={toast.go}>{t("atOnce")}</Button>}
      {!toast.undo && (
        <Button tone="quiet" icon="close" label={t("dismiss")} onClick={() => dismiss(toast.id)} />
      )}
    </div>
  );
}
