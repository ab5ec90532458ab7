// How values read on a page, in the browser: the same as services/web/text.py. Knows no document.

const INVISIBLE =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;
export const NOTHING = "–";

const writtenOut = (symbol) => `⟨U+${symbol.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;

/** Every invisible character written out; tab and newline stay. */
export const visible = (text) => text.replace(INVISIBLE, writtenOut);

export function decimals(value, digits) {
  if (value === null || value === undefined) return NOTHING;
  return Number.isFinite(value) ? value.toFixed(digits) : "not finite";
}

export function count(value) {
  if (value === null || value === undefined) return NOTHING;
  return String(Math.floor(value + 0.5)).replace(/\B(?=(\d{3})+$)/g, ",");
}

export const percent = (ratio) => `${Math.floor(ratio * 100)} %`;

export function span(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const whole = Math.max(0, Math.floor(seconds));
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(whole / unit));
  if (whole < 60) return `${whole} s`;
  if (minutes < 60) return `${minutes} min`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${days} d ${hours % 24} h`;
}
