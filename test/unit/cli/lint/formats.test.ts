import { describe, expect, it } from "vitest";
import { lintFiles, lintFolder, lintText, userYAML } from "../../../support/lint.ts";

describe("--format", () => {
  const bad = userYAML("ada", { email: "a,b: 50%\nc" });
  const mustBe =
    "spec.email: must be one email address such as ada@example.com, in plain ASCII; write an international domain in its xn-- form";

  it("github: one workflow command a finding", async () => {
    const made = lintFolder({ "a,b.yaml": bad });
    expect((await made.lint("--format=github", ".")).out).toEqual([
      `::error file=a%2Cb.yaml,line=6,col=10,endLine=9,endColumn=1,title=unified-rbac email-form::${mustBe}`,
    ]);
  });

  it("gitea: the place stands in the text, for it drops the properties", async () => {
    expect((await lintFiles({ "a.yaml": bad }, "--format=gitea", ".")).out).toEqual([
      `::error::a.yaml:6:10: ${mustBe}`,
    ]);
  });

  it("json: every finding with its place", async () => {
    const { out } = await lintFiles({ "a.yaml": userYAML("ada", { email: "ada" }) }, "--format=json", ".");
    expect(JSON.parse(out.join("\n"))).toEqual([
      {
        file: "a.yaml",
        line: 6,
        column: 10,
        endLine: 6,
        endColumn: 13,
        severity: "error",
        rule: "email-form",
        message: mustBe,
      },
    ]);
  });

  it("sarif: a run with its rules and regions, also when there is nothing", async () => {
    const { out } = await lintText(userYAML("ada", { email: "ada" }), "--format=sarif");
    expect(JSON.parse(out.join("\n"))).toMatchObject({
      version: "2.1.0",
      runs: [
        {
          tool: { driver: { name: "unified-rbac lint", version: "1.2.3", rules: [{ id: "email-form" }] } },
          results: [
            {
              ruleId: "email-form",
              ruleIndex: 0,
              level: "error",
              message: { text: mustBe },
              locations: [
                {
                  physicalLocation: {
                    artifactLocation: { uri: "%3Cstdin%3E" },
                    region: { startLine: 6, startColumn: 10, endLine: 6, endColumn: 13 },
                  },
                },
              ],
            },
          ],
        },
      ],
    });
    expect(JSON.parse((await lintText(userYAML("ada"), "--format=sarif")).out.join("\n"))).toMatchObject({
      runs: [{ results: [] }],
    });
  });
});
