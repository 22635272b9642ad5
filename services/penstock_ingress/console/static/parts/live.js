// Pages that keep themselves up to date. The server says that something has changed (server-sent events), and what shows
// it is asked for again; where the stream is broken, every second or two instead.
import { environment } from "./router.js";
import { api } from "./api.js";
import { useCallback, useEffect, useRef, useState } from "../vendor.js";

const EVERY = 1000;
const SLOWEST = 15000;
const WHILE_STREAMING = 5000;
const SHARE = 3;
const TOPICS = ["runs", "logs", "schedule", "steering"];

/**
 * What `load({background})` answers: {data, problem, isLoading, reload}. Loaded again when one of `inputs` changes, when
 * one of the topics `on` has changed (runs, logs, schedule, steering), and every few seconds while the page is seen: every
 * `every` ms (0: never) where no stream says what has changed. Old data stays while new data is on its way.
 */
export function useResource(load, inputs, { every = EVERY, on = ["runs"] } = {}) {
  const [state, setState] = useState({ data: undefined, problem: null, isLoading: true });
  const latest = useRef(load);
  const turn = useRef(0);
  latest.current = load;
  const reload = useCallback(async (background = false) => {
    const mine = ++turn.current;
    try {
      const data = await latest.current({ background });
      if (mine === turn.current) setState({ data, problem: null, isLoading: false });
      return true;
    } catch (problem) {
      if (mine === turn.current) setState((old) => ({ ...old, problem, isLoading: false }));
      return false;
    }
  }, []);
  useEffect(() => {
    setState((old) => ({ ...old, isLoading: true }));
    void reload();
    return () => void turn.current++;
  }, inputs);
  useEffect(() => (every ? refresh(() => reload(true), every, on) : undefined), [every, on.join(), environment.value]);
  return { ...state, reload: useCallback(() => reload(false), []) };
}

// Call `act` while the page is seen: at each change, one call at a time, and from time to time in any case.
function refresh(act, every, topics) {
  let timer;
  let isBusy = false;
  let isDue = false;
  let isOver = false;
  let failures = 0;
  const plan = () => {
    clearTimeout(timer);
    const pause = isStreaming && failures === 0 ? Math.max(every, WHILE_STREAMING) : every;
    if (!isOver) timer = setTimeout(turn, Math.min(pause * 2 ** failures, Math.max(pause, SLOWEST)));
  };
  const turn = async () => {
    isDue = true;
    if (isBusy || isOver || document.hidden) return;
    isBusy = true;
    isDue = false;
    const began = performance.now();
    failures = (await act()) ? 0 : failures + 1;
    // What takes the server long is asked for less often, however much changes.
    const rest = SHARE * (performance.now() - began);
    setTimeout(() => {
      isBusy = false;
      if (isDue && failures === 0) void turn();
    }, Math.min(rest, SLOWEST));
    plan();
  };
  const wake = () => !document.hidden && void turn();
  const stop = listen((changed) => (changed === null ? plan() : changed.some((topic) => topics.includes(topic)) && void turn()));
  document.addEventListener("visibilitychange", wake);
  plan();
  return () => {
    isOver = true;
    stop();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
  };
}

// One stream for all that is shown, since browsers keep few connections to a host; none while nobody looks.
const listeners = new Set();
let isStreaming = false;
let stream = null;

function listen(listener) {
  listeners.add(listener);
  tend();
  return () => {
    listeners.delete(listener);
    setTimeout(tend, 1000); // the next page listens at once
  };
}

function tend() {
  const isWanted = listeners.size > 0 && !document.hidden;
  if (stream !== null && (!isWanted || stream.environment !== environment.value)) {
    stream.close();
    stream = null;
    say("waiting");
  }
  if (isWanted && stream === null) {
    const close = openStream("stream", { types: ["changes"], onState: say, onEvent: (_, data) => tell(data?.topics ?? TOPICS) });
    stream = { close, environment: environment.value };
  }
}

document.addEventListener("visibilitychange", tend);

function say(state) {
  const was = isStreaming;
  isStreaming = state === "open";
  if (was !== isStreaming) tell(null);
}

function tell(topics) {
  for (const listener of listeners) listener(topics);
}

/**
 * Follow a stream of server-sent events of the management API: `onEvent(type, data)` for each, of the `types` that are
 * named; `onState("open" | "waiting")`. Connects again by itself, with the id of the last event, later and later while
 * that fails. Returns a function that ends it.
 */
export function openStream(path, { query, types = ["message"], onEvent, onState = () => {} }) {
  let source;
  let timer;
  let failures = 0;
  let last = null;
  const connect = () => {
    source = new EventSource(api.url(path, last === null ? query : { ...query, after: last }));
    source.onopen = () => {
      failures = 0;
      onState("open");
    };
    source.onerror = () => {
      onState("waiting");
      if (source.readyState !== EventSource.CLOSED) return; // the browser connects again
      failures += 1;
      timer = setTimeout(connect, Math.min(500 * 2 ** failures, SLOWEST));
    };
    for (const type of types) {
      source.addEventListener(type, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        onEvent(type, read(event.data));
      });
    }
  };
  connect();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}

/** The same for a component, while it is shown and `isOn`. */
export function useStream(path, options, inputs, isOn = true) {
  const latest = useRef(options);
  latest.current = options;
  useEffect(() => {
    if (!isOn) return undefined;
    return openStream(path, {
      ...options,
      onEvent: (type, data) => latest.current.onEvent(type, data),
      onState: (state) => latest.current.onState?.(state),
    });
  }, [path, isOn, ...inputs]);
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
