/** What the Dockerfile, the manifests and the build each say of the image, and have to agree on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";
import { V8_FLAGS } from "../../../build/codeCache.ts";
import { basesOf } from "../../../stack/cluster/image.ts";
import { projectRoot } from "../../../stack/paths.ts";
import { nodeFlags } from "../../../stack/product/flags.ts";

const read = (path: string): string => readFileSync(join(projectRoot, path), "utf8");
const dockerfile = read("Dockerfile");
const finalStage = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));

const container = z.object({
  args: z.tuple([z.enum(["webhook", "reconciler", "migrate"])]),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })),
});
const deployment = z.object({
  kind: z.literal("Deployment"),
  spec: z.object({
    template: z.object({
      spec: z.object({ containers: z.array(container), initContainers: z.array(container) }),
    }),
  }),
});

describe("V8's compiled code", () => {
  it("is made with the flags that each container runs with; with others, Node would ignore it", () => {
    const [found] = parseAllDocuments(read("manifests/deploy/deployment.yaml")).flatMap((document) => {
      const parsed = deployment.safeParse(document.toJS());
      return parsed.success ? [parsed.data.spec.template.spec] : [];
    });
    // Not a flag of V8's, so no reason to ignore anything.
    const fromEntrypoint = nodeFlags().filter((flag) => flag !== "--enable-source-maps");
    const flags = [...(found?.containers ?? []), ...(found?.initContainers ?? [])].map(({ args: [role], env }) => {
      const options = env.find(({ name }) => name === "NODE_OPTIONS")?.value?.split(" ") ?? [];
      return [role, [...fromEntrypoint, ...options]];
    });
    const { cli, ...roles } = V8_FLAGS;
    expect(Object.fromEntries(flags)).toEqual(roles);
    expect(cli).toEqual(fromEntrypoint);
  });
});

describe("the Dockerfile", () => {
  it("names its base once, as the Node that this project is tested with", () => {
    const { devDependencies } = z
      .looseObject({ devDependencies: z.looseObject({ node: z.string() }) })
      .parse(JSON.parse(read("package.json")));
    expect(basesOf(dockerfile)).toEqual([`node:${devDependencies.node}-bookworm-slim`]);
    expect(dockerfile.match(/node:\d/g)).toHaveLength(1);
  });

  it("needs no frontend from a registry", () => {
    expect(dockerfile).not.toMatch(/^# *syntax=/m);
  });

  it("ends with an image of files alone: nothing runs in it, and its user is a number that is not root", () => {
    expect(finalStage).toMatch(/^\nFROM scratch\n/);
    expect(finalStage).not.toMatch(/^RUN /m);
    expect(finalStage.match(/^COPY .*$/gm)).toEqual(["COPY --from=root /root-of-image/ /"]);
    expect(finalStage).toMatch(/^USER 65532:65532$/m);
  });

  it.each(["title", "description", "source", "licenses", "version", "revision"])("states %s in a label", (name) => {
    expect(finalStage).toMatch(new RegExp(`org\\.opencontainers\\.image\\.${name}="`));
  });

  it("takes nothing in that .dockerignore keeps out", () => {
    const allowed = read(".dockerignore").match(/(?<=^!).*$/gm) ?? [];
    const copied = Array.from(dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm), ([, files = ""]) => files.split(" "));
    const missing = copied
      .flat()
      .filter((file) => !allowed.some((name) => file === name || file.startsWith(`${name}/`)));
    expect(missing).toEqual([]);
    expect(allowed.length).toBeGreaterThan(4);
  });

  it("has its arguments on the page about the image", () => {
    const page = read("docs/image.md");
    for (const [, name = "", value = ""] of dockerfile.matchAll(/^ARG (\w+)=(\S+)$/gm))
      expect(page).toMatch(new RegExp(`^\\| \`${name}\` .*\\| \`${value.replaceAll(".", "\\.")}\``, "m"));
  });
});
