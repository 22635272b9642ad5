// What a person does: buttons that act, with a question before what cannot be taken back, and forms.
import { createContext, html, useContext, useEffect, useId, useRef, useState } from "../vendor.js";
import { notify } from "./notices.js";
import { may } from "./session.js";

// Of names of fields: one called "contains" or "after" would hide what a form itself has by that name.
const PREFIX = "field-";
// What is wrong with one field of a form: {field, message}.
const Refused = createContext(null);

/**
 * A button that does something, for those whose role covers `role`; others do not see it. `ask`: what is asked before,
 * `name`: the label in full where several buttons have the same one; `act`: async, what it does; `done`: what is said afterwards, a text or a function of what `act` answered.
 */
export function ActionButton({ label, name, role = "operator", ask, act, done, kind = "", after }) {
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  if (!may(role)) return null;
  const perform = async () => {
    setAsking(false);
    setBusy(true);
    try {
      const answer = await act();
      notify(typeof done === "function" ? done(answer) : (done ?? `${label}: done.`));
      await after?.(answer);
    } catch (problem) {
      notify(problem.message, "bad");
    } finally {
      setBusy(false);
    }
  };
  return html`<button type="button" class=${kind} aria-label=${name} disabled=${isBusy} onClick=${() => (ask ? setAsking(true) : perform())}>${label}</button>
    ${isAsking &&
    html`<${Dialog} title=${label} close=${() => setAsking(false)}>
      <p>${ask}</p>
      <p class="buttons">
        <button type="button" class=${kind || "primary"} onClick=${perform}>${label}</button>
        <button type="button" onClick=${() => setAsking(false)}>Leave it</button>
      </p>
    <//>`}`;
}

/** A window over the page, closed by Escape too; the focus goes into it, and back afterwards. */
export function Dialog({ title, close, children, wide = false }) {
  const frame = useRef(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    frame.current.showModal();
    return () => before?.focus?.();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return html`<dialog ref=${frame} aria-labelledby=${id} class=${wide ? "wide" : ""} onCancel=${cancel}>
    <h2 id=${id}>${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * A form: `send(values)` is async and gets the texts of the fields by name. What it throws is shown in the form: at a
 * field if the message begins with its name and a colon. After success `done` is said. `kind`: "pairs" for two fields in
 * a line where there is room.
 */
export function Form({ send, label, done, role = "operator", kind = "", children, after, cancel }) {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name.slice(PREFIX.length), value]));
    setProblem(null);
    setBusy(true);
    try {
      const answer = await send(values, event.target);
      if (done) notify(typeof done === "function" ? done(answer) : done);
      await after?.(answer);
    } catch (error) {
      const field = findField(event.target, error.message);
      setProblem({ field, message: field ? error.message.slice(field.length + 2) : error.message });
      if (field) event.target.elements.namedItem(PREFIX + field).focus();
    } finally {
      setBusy(false);
    }
  };
  return html`<form class=${`form ${kind}`} onSubmit=${submit}>
    <${Refused.Provider} value=${problem}>${children}<//>
    ${problem && !problem.field && html`<p class="note bad" role="alert">${problem.message}</p>`}
    ${may(role) &&
    html`<p class="buttons"><button type="submit" class="primary" disabled=${isBusy}>${label}</button>
      ${cancel && html`<button type="button" onClick=${cancel}>Cancel</button>`}</p>`}
  </form>`;
}

// The name of the field that a message is about.
function findField(form, message) {
  const [name] = /^\w+(?=: )/.exec(message) ?? [];
  return name && form.elements.namedItem(PREFIX + name) ? name : null;
}

/** A field of a form with its label and a hint: `kind` is a type of input, "area", or "select" with `options`. */
export function Field({ name, label, kind = "text", value, hint, options, rows = 4, ...rest }) {
  const id = useId();
  const refused = useContext(Refused);
  const problem = refused?.field === name ? refused.message : null;
  const said = [problem && `${id}-problem`, hint && `${id}-hint`].filter(Boolean).join(" ");
  const about = { ...(said ? { "aria-describedby": said } : {}), ...(problem ? { "aria-invalid": "true" } : {}) };
  let control = html`<input id=${id} name=${PREFIX + name} type=${kind} defaultValue=${value ?? ""} ...${about} ...${rest} />`;
  if (kind === "area") {
    control = html`<textarea id=${id} name=${PREFIX + name} rows=${rows} spellcheck=${false} defaultValue=${value ?? ""} ...${about} ...${rest}></textarea>`;
  } else if (kind === "select") {
    control = html`<select id=${id} name=${PREFIX + name} ...${about} ...${rest}>${options.map((option) => {
      const [code, text] = Array.isArray(option) ? option : [option, option];
      return html`<option key=${code} value=${code} selected=${code === value}>${text}</option>`;
    })}</select>`;
  }
  return html`<div class="field"><label for=${id}>${label}</label>${control}
    ${problem && html`<p class="problem" role="alert" id=${`${id}-problem`}>${problem}</p>`}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}</div>`;
}
