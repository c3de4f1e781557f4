// What the browser keeps for the page between visits.

/**
 * Storage of the browser. Where it is switched off or full, things are kept as long as the page is open.
 *
 * @param {() => Storage} storage asking for it may throw already
 */
function kept(storage) {
  const here = new Map();
  return {
    get(key) {
      try {
        return storage().getItem(key) ?? here.get(key) ?? null;
      } catch {
        return here.get(key) ?? null;
      }
    },
    set(key, value) {
      try {
        storage().setItem(key, value);
      } catch {
        here.set(key, value);
      }
    },
    remove(key) {
      here.delete(key);
      try {
        storage().removeItem(key);
      } catch {
        // Nothing was kept there.
      }
    },
  };
}

/** What is kept until the window is closed. */
export const forNow = kept(() => sessionStorage);
/** What is kept until it is removed. */
export const forLater = kept(() => localStorage);
