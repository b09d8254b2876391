/** The first version number in what a program printed, such as "1.37.2". */
export function versionIn(text: string): string | undefined {
  return /\d+(?:\.\d+)+|\b\d+\b/.exec(text)?.[0];
}

const numbers = (version: string): number[] => version.split(".").map(Number);

export function atLeast(version: string, minimum: string): boolean {
  const have = numbers(version);
  for (const [place, need] of numbers(minimum).entries()) {
    const part = have[place] ?? 0;
    if (part !== need) return part > need;
  }
  return true;
}

export function sameMinor(version: string, wanted: string): boolean {
  const [a, b] = [numbers(version), numbers(wanted)];
  return a[0] === b[0] && a[1] === b[1];
}
