// Pages that hear of changes: one stream of the tab says what there is to look at again. Without it, pages look by
// themselves, more rarely.
import { useEffect, useRef } from "../vendor.js";
import { openStream, useResource } from "./live.js";
import { environment } from "./router.js";

const LINGER = 2000;
const WITHOUT_STREAM = 5000;
const SHARE = 4;

const watchers = new Set();
let stream = null;

/**
 * As `useResource`, but loaded again when one of `topics` has changed ("runs", "logs", "schedule", "steering"): at most
 * once a second, and more rarely when an answer takes long.
 */
export function useLive(load, inputs, topics) {
  const isBackground = useRef(false);
  const resource = useResource(
    ({ background }) => load({ background: background || isBackground.current }),
    inputs,
    { every: 0 },
  );
  const latest = useRef(resource.reload);
  latest.current = resource.reload;
  useEffect(() => {
    let isBusy = false;
    let isDue = false;
    let isOver = false;
    let pause = null;
    const turn = async () => {
      if (isOver || document.hidden) return;
      if (isBusy) {
        isDue = true;
        return;
      }
      isBusy = true;
      isDue = false;
      const began = performance.now();
      isBackground.current = true;
      const done = latest.current();
      isBackground.current = false;
      await done;
      // Whoever asks for much leaves the server room for others.
      pause = setTimeout(() => {
        isBusy = false;
        if (isDue) void turn();
      }, Math.max(1000, SHARE * (performance.now() - began)));
    };
    const end = watch({ topics, act: turn });
    return () => {
      isOver = true;
      clearTimeout(pause);
      end();
    };
  }, [environment.value, topics.join()]);
  return resource;
}

function watch(watcher) {
  watchers.add(watcher);
  open();
  return () => {
    watchers.delete(watcher);
    setTimeout(() => watchers.size === 0 && close(), LINGER);
  };
}

function open() {
  if (stream?.environment === environment.value) return;
  close();
  const tell = (topics) => {
    for (const watcher of watchers) if (topics === null || watcher.topics.some((topic) => topics.includes(topic))) watcher.act();
  };
  let isOpen = false;
  let isFirst = true;
  const end = openStream("stream", {
    types: ["changes"],
    onEvent: (_, { topics }) => {
      // The first event of a connection names everything: what was loaded just now need not be loaded again.
      if (!isFirst) tell(topics);
      isFirst = false;
    },
    onState: (state) => {
      if (state === "open" && !isOpen) isFirst = true;
      isOpen = state === "open";
    },
  });
  const timer = setInterval(() => !isOpen && tell(null), WITHOUT_STREAM);
  stream = { environment: environment.value, end: () => (end(), clearInterval(timer)) };
}

function close() {
  stream?.end();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const watcher of watchers) watcher.act();
});
