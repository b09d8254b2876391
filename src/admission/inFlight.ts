/** What all requests together may hold in memory, from their first byte to their answer. */

/** Four of the largest; a manifest with its predecessor has a few kB. */
export const MOST_IN_FLIGHT = 32 * 1024 * 1024;

export interface Share {
  /** Holds so many bytes from now on. False: it had to give way, and holds nothing any more. */
  hold(bytes: number): boolean;
  /** All of it has come: it is answered whatever comes after it. */
  complete(): void;
  /** Twice is once. */
  release(): void;
}

export interface InFlight {
  /** `giveWay` is called when the bytes are needed for others: release them. */
  open(giveWay: () => void): Share;
  /** Held at this moment. */
  bytes(): number;
}

interface Held {
  bytes: number;
  complete: boolean;
  readonly giveWay: () => void;
}

/** When there is too much, whoever holds most without having sent the whole gives way: small requests always get by. */
export function makeInFlight(most = MOST_IN_FLIGHT): InFlight {
  const all = new Set<Held>();
  let total = 0;

  function drop(held: Held): void {
    if (!all.delete(held)) return;
    total -= held.bytes;
    held.bytes = 0;
  }

  function makeRoom(): void {
    while (total > most) {
      let largest: Held | undefined;
      for (const held of all) {
        if (!held.complete && held.bytes > (largest?.bytes ?? 0)) largest = held;
      }
      if (largest === undefined) return;
      drop(largest);
      largest.giveWay();
    }
  }

  return {
    bytes: () => total,
    open(giveWay) {
      const held: Held = { bytes: 0, complete: false, giveWay };
      all.add(held);
      return {
        hold(bytes) {
          if (!all.has(held)) return false;
          total += bytes - held.bytes;
          held.bytes = bytes;
          makeRoom();
          return all.has(held);
        },
        complete: () => void (held.complete = true),
        release: () => drop(held),
      };
    },
  };
}
