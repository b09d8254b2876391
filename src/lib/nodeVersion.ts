/** The oldest Node that runs this program: `engines` in package.json. Read before anything that an older one cannot read. */
export const OLDEST_NODE = "22.19";

/**
 * One sentence that says which Node `program` needs, or undefined when `version` (such as 24.9.0) is new enough.
 * Written without anything newer than ES2015, as is main.ts: a Node that is too old has to be able to run it.
 */
export function tooOldNode(program: string, version: string): string | undefined {
  const found = numbers(version);
  const needed = numbers(OLDEST_NODE);
  if (found[0] > needed[0] || (found[0] === needed[0] && found[1] >= needed[1])) return undefined;
  return `${program} needs Node ${OLDEST_NODE} or newer, and this is Node ${version}: install a newer one from https://nodejs.org.`;
}

function numbers(version: string): [number, number] {
  const parts = version.split(".");
  return [Number(parts[0]), Number(parts[1])];
}
