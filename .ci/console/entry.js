// What our modules import from ./vendor.js: everything that the console takes from others, in one place.
export { Fragment, createContext, h, render } from "preact";
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useMemo, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from "@preact/signals";
export { default as dagre } from "@dagrejs/dagre";
export { default as uPlot } from "uplot";
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
