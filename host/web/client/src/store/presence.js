/**
 * Who is online, by the rules about generations: a late or repeated transition never hides a newer one.
 */

export class Presence {
  /** @type {Map<string, {user: string, online: boolean, last_seen: string | null, generation: number}>} */
  #known = new Map();
  #view = null;

  /** The presence of `hello` replaces everything. */
  replace(states) {
    this.#known = new Map(states.map((state) => [state.user, state]));
    this.#view = null;
  }

  /**
   * The presence of all contacts, in an answer that is not the first one. Whom it does not name, the user may not see, unless an
   * event about them arrived while the answer was on the way: `recent` are the users of those.
   */
  learn(states, recent = []) {
    const named = new Set([...states.map(({ user }) => user), ...recent]);
    [...this.#known.keys()].filter((user) => !named.has(user)).forEach((user) => this.hide(user));
    for (const state of states) {
      const known = this.#known.get(state.user);
      if (!known || state.generation === 0 || state.generation >= known.generation) {
        this.#known.set(state.user, state);
        this.#view = null;
      }
    }
  }

  /** A transition: the event `user.online` or `user.offline`. Returns whether it was newer than what was known. */
  transition(online, { user, last_seen, generation }) {
    if (generation <= (this.#known.get(user)?.generation ?? 0)) {
      return false;
    }
    this.#known.set(user, { user, online, last_seen, generation });
    this.#view = null;
    return true;
  }

  /** The user is no contact any more, or is blocked: nothing is shown of them. */
  hide(user) {
    const known = this.#known.get(user);
    if (known) {
      this.#known.set(user, { ...known, online: false, last_seen: null });
      this.#view = null;
    }
  }

  /** All that is known, by user. */
  view() {
    this.#view ??= Object.fromEntries(this.#known);
    return this.#view;
  }
}
