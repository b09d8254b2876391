/**
 * A rule is a pair: the CEL text that the API server runs, and a predicate that runs everywhere else. Both see the value
 * at `path`; one case table proves that they agree.
 */
export interface Rule {
  /** kebab-case, unique within its kind. */
  readonly name: string;
  /** From the object's root: fields by name, `[*]` for every item of a list or every value of a map. */
  readonly path: string;
  /** Evaluated by the API server with `self` (and `oldSelf` in a transition rule). */
  readonly cel: string;
  /** What the person reads, after the path: what must be, and how to fix it. */
  readonly message: string;
  /** True when it is well. `self` has passed its schema. `oldSelf`, in an update, is for transition rules only. */
  readonly holds: (self: unknown, oldSelf?: unknown) => boolean;
  /** Where the rule is nothing but a regular expression: for editors. */
  readonly pattern?: string;
}

/** A rule whose value has the type `Self`, as its schema says. */
type RuleOf<Self> = Omit<Rule, "holds" | "pattern"> & { readonly holds: (self: Self) => boolean };

/** Ties a typed predicate to its place: rules run only on values that passed the schema there. */
export function rule<Self>({ holds, ...rest }: RuleOf<Self>): Rule {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema has spoken before
  return { ...rest, holds: (self) => holds(self as Self) };
}

/**
 * A text must match. The pattern must mean the same to RE2 and to JavaScript (no look-around, no back-references, no \s
 * or \w), and hold no double quote, for it stands in a raw CEL string.
 */
export function matching(name: string, path: string, pattern: string, message: string): Rule {
  const expression = new RegExp(pattern, "u");
  return {
    name,
    path,
    cel: `self.matches(r"${pattern}")`,
    message,
    holds: (self) => typeof self === "string" && expression.test(self),
    pattern,
  };
}

/** A text must not match; the pattern is bound as that of {@link matching} is. */
export function notMatching(name: string, path: string, pattern: string, message: string): Rule {
  const expression = new RegExp(pattern, "u");
  return rule<string>({
    name,
    path,
    cel: `!self.matches(r"${pattern}")`,
    message,
    holds: (self) => !expression.test(self),
  });
}

/** A text that may be set once: the API server runs it on updates only. */
export function immutable(name: string, path: string, message: string): Rule {
  return {
    name,
    path,
    cel: "self == oldSelf",
    message,
    holds: (self, oldSelf) => oldSelf === undefined || self === oldSelf,
  };
}
