// The card that says what was used this month, in plain words.

import { api } from "../api.js";
import { fill, h } from "../dom.js";
import { formatBytes, formatDay, formatMonth, formatNumber, formatUsd, t } from "../i18n.js";
import { problemNotice } from "../notices.js";

const GIGABYTE = 1e9;

/** The card, which fills itself. */
export function usageCard(signal) {
  const content = h("div", { class: "usage" }, h("p", { "aria-busy": "true" }, t("common.loading")));
  const load = async () => {
    try {
      const usage = await api.usage(null, signal);
      if (!signal.aborted) fill(content, inWords(usage));
    } catch (error) {
      if (!signal.aborted) fill(content, problemNotice(error, load));
    }
  };
  load();
  return h("section", { class: "card" }, h("h2", {}, t("account.usage")), content);
}

function inWords(usage) {
  const { used, reserved_usd: reserved, free_tier: free, budget } = usage;
  const cost = used.model.cost_usd;
  return [
    h("p", { class: "usage-month" }, formatMonth(usage.month)),
    h("p", {}, [
      t("account.used_analyses", { n: used.analyses }), t("account.used_answers", { n: used.answers }),
      t("account.used_frames", { n: used.frames }),
    ].join(" · ")),
    h("p", {}, cost === null ? t("account.cost_unknown") : t("account.cost", { usd: formatUsd(cost) })),
    budgetInWords(budget, cost ?? 0, reserved),
    reserved > 0 && h("p", {}, t("account.reserved", { usd: formatUsd(reserved) })),
    storageInWords(used, free),
    h("p", { class: "small" }, t("account.resets", { day: formatDay(usage.resets_at) })),
  ];
}

function budgetInWords({ caller_usd: limit, caller_remaining_usd: rest, service_is_limited: isShared }, spent, reserved) {
  if (limit === null) return h("p", {}, t(isShared ? "account.budget_shared" : "account.budget_none"));
  const text = t("account.budget", { rest: formatUsd(rest), limit: formatUsd(limit) });
  return [h("p", {}, text), bar(spent + reserved, limit, t("account.budget_label"))];
}

function storageInWords(used, free) {
  const freeBytes = free.storage_gb_month * GIGABYTE;
  const { class_a_operations: writes, class_b_operations: reads } = used;
  const share = Math.max(writes / free.class_a_operations, reads / free.class_b_operations);
  const percent = formatNumber(100 * share, share < 0.01 ? 2 : 0);
  return [
    h("p", {}, t("account.stored", { size: formatBytes(used.stored_bytes), free: formatBytes(freeBytes) })),
    bar(used.stored_bytes, freeBytes, t("account.stored_label")),
    h("p", {}, t("account.operations", { n: writes + reads, count: formatNumber(writes + reads), percent })),
    free.beyond_usd > 0 && h("p", {}, t("account.beyond", { usd: formatUsd(free.beyond_usd) })),
  ];
}

function bar(value, max, label) {
  return h("progress", { value: Math.min(value, max), max, "aria-label": label });
}
