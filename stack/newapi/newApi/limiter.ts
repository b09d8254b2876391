/** So many in a window; one that is refused is not counted. `limit` 0: everything passes. */
export function makeLimiter(now: () => number = Date.now) {
  let passed: number[] = [];
  return {
    pass(limit: number, windowMs: number): boolean {
      if (limit === 0) return true;
      passed = passed.filter((at) => at > now() - windowMs);
      if (passed.length >= limit) return false;
      passed.push(now());
      return true;
    },
    clear: () => {
      passed = [];
    },
  };
}
