// The calls that were made in this browser, in IndexedDB. Nothing of it is sent, unless somebody makes a call again.

const DATABASE = "amux-playground";
const CALLS = "calls";
const MAX_CALLS = 100;

let opened = null;
const otherTabs = new BroadcastChannel(DATABASE);

/** Call `callback` after each change that another tab makes. */
export function onHistoryChange(callback) {
  otherTabs.onmessage = () => callback();
}

/**
 * @param {{time: number, fields: object, reference: File|string|null, images: Blob[], urls: string[], cost: string}} call
 *   `time` is in milliseconds, and its id. Calls that were stored by earlier versions of this page have no `reference`.
 */
export async function addCall(call) {
  const calls = await store("readwrite");
  calls.put(call);
  const ids = await done(calls.getAllKeys());
  for (const id of ids.slice(0, Math.max(0, ids.length - MAX_CALLS))) calls.delete(id);
  otherTabs.postMessage("changed"); // a transaction that still runs is over before one that begins later
}

/** @returns {Promise<object[]>} the calls, newest first. */
export async function readCalls() {
  const calls = await done((await store("readonly")).getAll());
  return calls.reverse();
}

export async function clearCalls() {
  await done((await store("readwrite")).clear());
  otherTabs.postMessage("changed");
}

async function store(mode) {
  opened ??= open();
  return (await opened).transaction(CALLS, mode).objectStore(CALLS);
}

function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(CALLS, { keyPath: "time" });
  return done(request);
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
