/** Runs a few pieces of work at once; whoever takes longer than others need gives its place up, so that no few hold them all. */
export interface Slots {
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** `most`: with those that gave their place up. */
export function makeSlots(of: { readonly slots: number; readonly patienceMs: number; readonly most: number }): Slots {
  const waiting: (() => void)[] = [];
  let quick = 0;
  let all = 0;

  function next(): void {
    while (quick < of.slots && all < of.most) {
      const begin = waiting.shift();
      if (begin === undefined) return;
      quick += 1;
      all += 1;
      begin();
    }
  }

  return {
    async run(work) {
      const turn = Promise.withResolvers<void>();
      waiting.push(() => turn.resolve());
      next();
      await turn.promise;
      let hasSlot = true;
      const giveUp = (): void => {
        if (hasSlot) quick -= 1;
        hasSlot = false;
        next();
      };
      const timer = setTimeout(giveUp, of.patienceMs);
      try {
        return await work();
      } finally {
        clearTimeout(timer);
        all -= 1;
        giveUp();
      }
    },
  };
}
