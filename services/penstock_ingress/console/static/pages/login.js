// Where somebody logs in: in the place of any page, so that its address stays.
import { html, useEffect, useState } from "../vendor.js";
import { logIn } from "../parts/api.js";
import { Logo } from "../parts/layout.js";
import { query } from "../parts/router.js";
import { about, farewell } from "../parts/session.js";

const REFUSED = {
  state: "This login was not begun in this browser, or too long ago. Log in again.",
  issuer: "Your organization's login cannot be reached at this moment, or it has refused. Try again; the log of the ingress says more.",
  token: "What your organization's login has answered is not good. The log of the ingress says why.",
  role: "You are known, but nobody has given you a role here. Ask an administrator of your organization's groups.",
};

export function LoginPage() {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    document.title = "Log in · Penstock";
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await logIn(new FormData(event.target).get("token"));
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const isOpenNetwork = location.protocol === "http:" && !/^(localhost|127\.|\[::1\]$)/.test(location.hostname);
  return html`<main class="alone">
    <div class="login">
      <p class="brand"><${Logo} /> Penstock</p>
      <h1>Log in</h1>
      ${farewell.value && html`<p class="note wait" role="status">${farewell.value}</p>`}
      ${REFUSED[query.value.refused] && html`<p class="note bad" role="alert">${REFUSED[query.value.refused]}</p>`}
      <form class="form" onSubmit=${submit}>
        <div class="field"><label for="token">Admin token</label>
          <input id="token" name="token" type="password" autocomplete="current-password" required autofocus
            aria-invalid=${problem !== null} aria-describedby=${problem ? "token-problem" : "token-hint"} />
          <p class="hint" id="token-hint"><code>penstock up</code> prints one, <code>PENSTOCK_ADMIN_TOKEN</code> sets one,
            and <code>penstock token create</code> makes others.</p>
        </div>
        ${problem && html`<p class="note bad" role="alert" id="token-problem">${problem.message}</p>`}
        <p class="buttons"><button type="submit" class="primary" disabled=${isBusy}>Log in</button></p>
      </form>
      ${about.value.oidc && html`<p class="or"><a class="button" href=${`/console/oidc/login?to=${encodeURIComponent(location.pathname + location.search)}`}>
        Log in with ${about.value.oidc.name}</a></p>`}
      ${isOpenNetwork && html`<p class="note wait">This page came over plain HTTP: whoever reads the network can read your token. Use HTTPS.</p>`}
      <p class="soft small"><a href="/docs">Management API</a> · <a href="/about">About this installation</a></p>
    </div>
  </main>`;
}
