// Numbers and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Seconds as ms or s; a dash for none. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0";
  if (seconds < 0.01) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

/** Bytes in units of a thousand. */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const power = Math.min(count < 1 ? 0 : Math.floor(Math.log10(count) / 3), UNITS.length - 1);
  return `${(count / 1000 ** power).toFixed(power ? 1 : 0)} ${UNITS[power]}`;
}

/** A share of one as a percentage. */
export function percent(share, digits = 1) {
  if (share === null || share === undefined) return "–";
  return share > 0 && share < 0.5 * 10 ** -(digits + 2) ? `< ${10 ** -digits} %` : `${(share * 100).toFixed(digits)} %`;
}

/** A whole number with separators. */
export const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en"));

/** A time in this browser's zone, always of the same length. */
export function moment(text) {
  const two = (number) => String(number).padStart(2, "0");
  const when = new Date(text);
  const day = [when.getFullYear(), two(when.getMonth() + 1), two(when.getDate())].join("-");
  return `${day} ${[when.getHours(), when.getMinutes(), when.getSeconds()].map(two).join(":")}`;
}

/** A class name without its underscores. */
export const words = (name) => String(name).replaceAll("_", " ");
