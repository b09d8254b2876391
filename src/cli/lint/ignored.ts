/**
 * What Flux's source-controller leaves out of a repository: what the `.sourceignore` files in it name, what it leaves out
 * by itself, and whatever is neither file nor folder. Patterns mean what they mean to Flux, which is not quite git.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";

const IGNORE_FILE = ".sourceignore";
const BY_ITSELF = [
  ".git/,.gitignore,.gitmodules,.gitattributes",
  "*.jpg,*.jpeg,*.gif,*.png,*.wmv,*.flv,*.tar.gz,*.zip",
  ".github/,.circleci/,.travis.yml,.gitlab-ci.yml,appveyor.yml,.drone.yml,cloudbuild.yaml,codeship-services.yml,codeship-steps.yml",
  "**/.goreleaser.yml,**/.sops.yaml,**/.flux.yaml",
].flatMap((line) => line.split(","));

/** Whether the file at this path is left out. */
export type Ignored = (path: string) => boolean;

interface Pattern {
  readonly domain: readonly string[];
  readonly parts: readonly string[];
  readonly includes: boolean;
  readonly folderOnly: boolean;
}

/** For all files below the repository that `path` is in, or below `path` itself where it is in none. */
export function ignoredBelow(path: string): Ignored {
  const root = rootOf(resolve(path));
  const patterns = [...BY_ITSELF.map((line) => patternOf(line, [])), ...patternsIn(root, [])];
  return (file) => {
    const parts = relative(root, resolve(file)).split(sep);
    // The last word counts.
    const last = patterns.findLast((pattern) => matches(pattern, parts));
    return last !== undefined && !last.includes;
  };
}

function rootOf(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    if (existsSync(join(at, ".git"))) return at;
    if (dirname(at) === at) return path;
  }
}

function patternsIn(folder: string, domain: readonly string[]): Pattern[] {
  const file = join(folder, IGNORE_FILE);
  const own = existsSync(file)
    ? readFileSync(file, "utf8")
        .split(/\r?\n/)
        .filter((line) => !line.startsWith("#") && line.trim() !== "")
        .map((line) => patternOf(line, domain))
    : [];
  const below = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== ".git" && entry.name !== "node_modules")
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name }) => patternsIn(join(folder, name), [...domain, name]));
  return [...own, ...below];
}

function patternOf(line: string, domain: readonly string[]): Pattern {
  const includes = line.startsWith("!");
  let text = includes ? line.slice(1) : line;
  if (!text.endsWith("\\ ")) text = withoutTrailingSpaces(text);
  const folderOnly = text.endsWith("/");
  if (folderOnly) text = text.slice(0, -1);
  return { domain, parts: text.split("/"), includes, folderOnly };
}

/** Without an expression: one that may begin anywhere in a run of spaces takes time in its square. */
function withoutTrailingSpaces(text: string): string {
  let end = text.length;
  while (text[end - 1] === " ") end -= 1;
  return text.slice(0, end);
}

/** Only files are asked about: what lies below an ignored folder is ignored by that folder's name. */
function matches({ domain, parts, folderOnly }: Pattern, path: readonly string[]): boolean {
  if (path.length <= domain.length || domain.some((part, index) => path[index] !== part)) return false;
  const rest = path.slice(domain.length);
  const [only = ""] = parts;
  if (parts.length > 1) return pathMatches(parts, rest, folderOnly);
  const found = rest.findIndex((name) => nameMatches(only, name));
  return found >= 0 && !(folderOnly && found === rest.length - 1);
}

function pathMatches(parts: readonly string[], path: readonly string[], folderOnly: boolean): boolean {
  let rest = path;
  let matched = false;
  let anywhere = false;
  for (const [index, part] of parts.entries()) {
    if (part === "") {
      anywhere = false;
    } else if (part === "**") {
      if (index === parts.length - 1) break;
      anywhere = true;
    } else {
      if (part.includes("**") || rest.length === 0) return false;
      const at = anywhere
        ? rest.findIndex((name) => nameMatches(part, name))
        : nameMatches(part, rest[0] ?? "")
          ? 0
          : -1;
      if (at < 0 && !anywhere) return false;
      matched = at >= 0;
      rest = at < 0 ? [] : rest.slice(at + 1);
      anywhere = false;
    }
  }
  return matched && !(folderOnly && rest.length === 0);
}

/** `*`, `?`, `[a-z]`, `\x`, within one name; a pattern that is none matches nothing. Without a regular expression: it is the repository's. */
function nameMatches(pattern: string, name: string): boolean {
  const letters = Array.from(name);
  const signs = Array.from(pattern);
  let [p, n, star, retry] = [0, 0, -1, 0];
  while (n < letters.length) {
    const step = p < signs.length && signs[p] !== "*" ? stepMatches(signs, p, letters[n] ?? "") : undefined;
    if (p < signs.length && signs[p] === "*") {
      star = p;
      retry = n;
      p += 1;
    } else if (step !== undefined && step.matched) {
      p = step.next;
      n += 1;
    } else if (star >= 0) {
      p = star + 1;
      retry += 1;
      n = retry;
    } else return false;
  }
  while (signs[p] === "*") p += 1;
  return p === signs.length;
}

/** One sign of the pattern against one letter; undefined: the pattern is broken. */
function stepMatches(
  signs: readonly string[],
  at: number,
  letter: string,
): { matched: boolean; next: number } | undefined {
  const sign = signs[at];
  if (sign === "?") return { matched: true, next: at + 1 };
  if (sign === "\\") return { matched: signs[at + 1] === letter, next: at + 2 };
  if (sign !== "[") return { matched: sign === letter, next: at + 1 };
  let next = at + 1;
  const negated = signs[next] === "^";
  if (negated) next += 1;
  let matched = false;
  for (let first = true; first || signs[next] !== "]"; first = false) {
    if (next >= signs.length) return undefined;
    const [low, after] = classLetter(signs, next);
    let high = low;
    next = after;
    if (signs[next] === "-" && signs[next + 1] !== undefined) [high, next] = classLetter(signs, next + 1);
    if (low <= letter && letter <= high) matched = true;
  }
  return { matched: matched !== negated, next: next + 1 };
}

function classLetter(signs: readonly string[], at: number): [letter: string, next: number] {
  return signs[at] === "\\" ? [signs[at + 1] ?? "", at + 2] : [signs[at] ?? "", at + 1];
}
