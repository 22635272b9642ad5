// Pages that keep themselves up to date: a resource is asked for again when something has changed.
import { useCallback, useEffect, useRef, useState } from "../vendor.js";
import { api } from "./api.js";

const EVERY = 1000;
const SLOWEST = 15000;

/**
 * What `load({background})` answers: {data, problem, isLoading, reload}. Loaded again when one of `inputs` changes, and
 * every second while the page is seen (`every` in ms; 0: never). Old data stays while new data is on its way.
 */
export function useResource(load, inputs, { every = EVERY } = {}) {
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
  useEffect(() => (every ? repeat(() => reload(true), every) : undefined), [every]);
  return { ...state, reload: useCallback(() => reload(false), []) };
}

/** Call `act` again and again while the page is seen: `every` ms after it has ended, more and more slowly while it fails. */
export function repeat(act, every) {
  let timer;
  let failures = 0;
  let isOver = false;
  const next = () => {
    clearTimeout(timer);
    if (!isOver) timer = setTimeout(turn, Math.min(every * 2 ** failures, Math.max(every, SLOWEST)));
  };
  const turn = async () => {
    if (document.hidden) return;
    failures = (await act()) === false ? failures + 1 : 0;
    next();
  };
  const wake = () => {
    if (!document.hidden) void turn();
  };
  document.addEventListener("visibilitychange", wake);
  next();
  return () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
  };
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
