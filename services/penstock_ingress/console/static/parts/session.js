// Who is logged in, and what they may do. The cookie is out of reach of scripts; the token against forged requests is
// kept in memory alone.
import { signal } from "../vendor.js";

/** What the server says before and after login: {session, version, environments, oidc}; null until it has answered. */
export const about = signal(null);
/** Why the login page is shown although somebody was logged in; null: nobody was. */
export const farewell = signal(null);

const ROLES = ["viewer", "operator", "admin"];

/** The session, or null. Its members: name, role, environment, workflows, payloads, expires_at, csrf_token. */
export const session = () => about.value?.session ?? null;

/** Whether the session's role covers `role`. What it does not cover, no page offers; the server refuses it in any case. */
export function may(role) {
  const own = session()?.role;
  return own != null && ROLES.indexOf(own) >= ROLES.indexOf(role);
}

/** Whether parameters, results, errors and messages are shown to this session. */
export const seesPayloads = () => session()?.payloads ?? false;

/** Take what the server said of the session. */
export function begin(answer) {
  farewell.value = null;
  about.value = answer;
}

/** The server knows the session no more: the login page takes the place of every page, at the same address. */
export function lose(reason) {
  if (session() === null) return;
  farewell.value = reason;
  about.value = { ...about.value, session: null };
}
