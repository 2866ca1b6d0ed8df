// The server says that something changed; the page asks for itself again and takes over the regions that differ.
import { morph } from "./morph.js";

const GAP = 250;
const LONGEST_WAIT = 30000;

export function keepLive(afterwards) {
  const address = document.body.dataset.live;
  if (!address) return;
  let running = false;
  let wanted = false;
  let wait = 1000;

  async function refresh() {
    wanted = true;
    if (running || document.hidden) return;
    running = true;
    while (wanted) {
      wanted = false;
      try {
        await takeOver(afterwards);
      } catch {
        // The stream reconnects, and its first word is a change.
      }
      await new Promise((done) => setTimeout(done, GAP));
    }
    running = false;
  }

  function connect() {
    const source = new EventSource(address);
    source.addEventListener("change", refresh);
    source.onopen = () => (wait = 1000);
    source.onerror = () => {
      // A browser gives up for good after an answer that is no stream, such as a router's 502 during a restart.
      if (source.readyState !== EventSource.CLOSED) return;
      // Who was signed out meanwhile is led to the login by asking for the page.
      setTimeout(() => (refresh(), connect()), wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    };
    addEventListener("pagehide", () => source.close(), { once: true });
  }

  document.addEventListener("visibilitychange", () => wanted && refresh());
  connect();
}

async function takeOver(afterwards) {
  // A form that came back with an alert stands at an address that only takes a POST.
  const answer = await fetch(document.body.dataset.page ?? location.href, { cache: "no-store" });
  if (answer.redirected) return location.assign(answer.url);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const region of document.querySelectorAll("[data-region]")) {
    const changed = fresh.getElementById(region.id);
    if (changed) morph(region, document.adoptNode(changed));
  }
  afterwards();
}
