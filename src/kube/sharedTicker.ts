/** One timer that goes round many members, in place of timers of their own; it runs while there is a member. */
export interface SharedTicker<Member> {
  join(member: Member): void;
  leave(member: Member): void;
}

/** `look` is called for each member every `everyMs`: who counts its calls has a clock that no one can set. */
export function makeSharedTicker<Member>(look: (member: Member) => void, everyMs: number): SharedTicker<Member> {
  const members = new Set<Member>();
  let timer: NodeJS.Timeout | undefined;
  return {
    join(member) {
      members.add(member);
      timer ??= setInterval(() => {
        for (const each of members) look(each);
      }, everyMs);
    },
    leave(member) {
      members.delete(member);
      if (members.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
  };
}
