/** Finds closures that name a thing before it is made, in a file's syntax tree. */
import { parseAst } from "vitest/node";

export interface ForwardClosure {
  readonly name: string;
  readonly line: number;
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** A block in which names are declared. The bindings of functions and parameters exist from its beginning on. */
interface Scope {
  readonly parent: Scope | undefined;
  /** The function whose body it is in; undefined: the module, whose functions are called when it has been read. */
  readonly body: Node | undefined;
  /** Where a `const` or `let` begins to be made; undefined: it is there from the beginning. */
  readonly names: Map<string, number | undefined>;
}

const FUNCTIONS = ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"];
const BLOCKS = [
  "BlockStatement",
  "ForStatement",
  "ForOfStatement",
  "ForInStatement",
  "SwitchStatement",
  "CatchClause",
  "StaticBlock",
];

/**
 * An arrow function, a function or a method inside a function's body that names a `const`, `let` or class which the same
 * body makes further down: called too early, it throws, and a ring can be closed by it. The statement that makes a thing
 * may name it (a timer that removes itself).
 */
export function forwardClosures(text: string): ForwardClosure[] {
  const found: ForwardClosure[] = [];
  const program = parseAst(text, { lang: "ts" }) as unknown as Node;

  function visit(node: Node, scope: Scope, closures: readonly Node[]): void {
    if (node.type.startsWith("TS") && !VALUES.has(node.type)) return;
    if (node.type === "Identifier" && typeof node.name === "string") use(node, node.name, scope, closures);
    const isFunction = FUNCTIONS.includes(node.type);
    const inner = isFunction || BLOCKS.includes(node.type) || node.type === "Program" ? open(node, scope) : scope;
    const through = isFunction ? [...closures, node] : closures;
    for (const child of namedBy(node)) visit(child, inner, through);
  }

  function open(node: Node, parent: Scope): Scope {
    const isFunction = FUNCTIONS.includes(node.type);
    const body = isFunction ? node : parent.body;
    const scope: Scope = { parent, body, names: new Map() };
    if (isFunction) {
      for (const parameter of node.params as Node[])
        for (const name of bound(parameter)) scope.names.set(name, undefined);
      if (node.type === "FunctionExpression" && isNode(node.id)) scope.names.set(String(node.id.name), undefined);
    }
    if (isNode(node.param)) for (const name of bound(node.param)) scope.names.set(name, undefined);
    const cases = (node.cases as Node[] | undefined)?.flatMap((each) => each.consequent as Node[]);
    const statements = Array.isArray(node.body) ? (node.body as Node[]) : (cases ?? []);
    const loop = [node.init, node.left].filter(isNode);
    for (const statement of [...statements, ...loop]) declare(statement, scope);
    return scope;
  }

  function declare(statement: Node, scope: Scope): void {
    const declared = isNode(statement.declaration) ? statement.declaration : statement;
    if (declared.type === "FunctionDeclaration") {
      if (isNode(declared.id)) scope.names.set(String(declared.id.name), undefined);
    } else if (declared.type === "ClassDeclaration") {
      if (isNode(declared.id)) scope.names.set(String(declared.id.name), declared.start);
    } else if (declared.type === "VariableDeclaration") {
      for (const { id, start } of declared.declarations as Node[]) {
        for (const name of bound(id as Node)) scope.names.set(name, start);
      }
    }
  }

  function use(node: Node, name: string, from: Scope, closures: readonly Node[]): void {
    let scope: Scope | undefined = from;
    while (scope !== undefined && !scope.names.has(name)) scope = scope.parent;
    const madeAt = scope?.names.get(name);
    if (scope?.body === undefined || madeAt === undefined) return;
    const { body } = scope;
    // The outermost closure between the use and the body that makes the thing.
    const closure = closures[closures.indexOf(body) + 1];
    if (closure !== undefined && closure.start < madeAt) {
      found.push({ name, line: text.slice(0, node.start).split("\n").length });
    }
  }

  visit(program, { parent: undefined, body: undefined, names: new Map() }, []);
  return found;
}

/** Syntax of types that has a value inside. */
const VALUES = new Set(["TSAsExpression", "TSSatisfiesExpression", "TSNonNullExpression", "TSTypeAssertion"]);

/** The children in which an identifier is a use of a thing: not a property's name, nor a key. */
function namedBy(node: Node): Node[] {
  const skipped = new Set(["typeAnnotation", "returnType", "typeParameters", "typeArguments", "superTypeArguments"]);
  if (node.type === "MemberExpression" && node.computed !== true) skipped.add("property");
  if (["Property", "MethodDefinition", "PropertyDefinition"].includes(node.type) && node.computed !== true) {
    skipped.add("key");
  }
  if (node.type.startsWith("Import") || node.type === "ExportSpecifier") return [];
  return Object.entries(node)
    .filter(([field]) => !skipped.has(field))
    .flatMap(([, value]) => (Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : []));
}

/** The names that a pattern binds. */
function bound(pattern: Node): string[] {
  switch (pattern.type) {
    case "Identifier":
      return [String(pattern.name)];
    case "ObjectPattern":
      return (pattern.properties as Node[]).flatMap((each) => bound((each.value ?? each.argument) as Node));
    case "ArrayPattern":
      return (pattern.elements as (Node | null)[]).flatMap((each) => (each === null ? [] : bound(each)));
    case "AssignmentPattern":
      return bound(pattern.left as Node);
    case "RestElement":
      return bound(pattern.argument as Node);
    default:
      return [];
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}
