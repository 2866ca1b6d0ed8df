// The same words as in words.py, once a second.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
// The server's clock, not this machine's, is what the moments were taken from.
const skew = Date.now() - Number(document.body.dataset.now || Date.now());

function ago(moment, now) {
  const seconds = (now - moment) / 1000;
  if (Math.abs(seconds) < 5) return seconds >= 0 ? "just now" : "now";
  const size = Math.abs(seconds);
  const unit = UNITS.find(([length]) => size >= length);
  const text = unit ? `${Math.floor(size / unit[0])} ${unit[1]}` : `${Math.floor(size)} s`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two((seconds % 3600) / 60)} min`;
}

function tick() {
  const now = Date.now() - skew;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = ago(Date.parse(time.dateTime), now);
    if (time.textContent !== text) time.textContent = text;
  }
  for (const span of document.querySelectorAll("[data-elapsed]")) {
    span.textContent = duration(Math.max(0, now - Number(span.dataset.elapsed)));
  }
  for (const bar of document.querySelectorAll("progress[data-since][max]")) {
    bar.value = Math.min(bar.max, now - Number(bar.dataset.since));
  }
}

export function keepTimes() {
  tick();
  setInterval(tick, 1000);
}
