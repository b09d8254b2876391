import { describe, expect, it } from "vitest";

import { missingPrerequisites, type Ask } from "../../../stack/obtain/prerequisites.ts";

/** A machine that has exactly these programs. */
const machine =
  (answers: Readonly<Record<string, string>>): Ask =>
  (file, args) =>
    answers[`${file.split("/").at(-1)} ${args.join(" ")}`];

const complete = {
  "git --version": "git version 2.39.5",
  "go env GOVERSION": "go1.26.8",
  "go env GOTOOLCHAIN": "local",
  "java -version": 'openjdk version "17.0.15" 2025-04-15',
};

const without = (program: string): Record<string, string> =>
  Object.fromEntries(Object.entries(complete).filter(([call]) => !call.startsWith(program)));

const goFor = ["etcd", "NATS"];

describe("missing prerequisites", () => {
  it("finds nothing to say about a complete machine", () => {
    expect(missingPrerequisites({ goFor }, machine(complete))).toEqual([]);
  });

  it("says in one sentence what Go is for and where it is from", () => {
    expect(missingPrerequisites({ goFor }, machine(without("go")))).toEqual([
      'Go 1.26.2 or newer is needed to build etcd, NATS, and no "go" was found on the PATH: ' +
        "install it from https://go.dev/dl or with your package manager.",
    ]);
  });

  it("does not ask for Go where nothing is to be built", () => {
    expect(missingPrerequisites({ goFor: [] }, machine(without("go")))).toEqual([]);
  });

  it("refuses an older Go that may not fetch a newer one", () => {
    const old = { ...complete, "go env GOVERSION": "go1.24.1" };
    expect(missingPrerequisites({ goFor }, machine(old))).toEqual([expect.stringContaining("found is 1.24.1")]);
    expect(missingPrerequisites({ goFor }, machine({ ...old, "go env GOTOOLCHAIN": "auto" }))).toEqual([]);
  });

  it("refuses a Java that Keycloak does not run on", () => {
    const old = { ...complete, "java -version": 'openjdk version "11.0.2" 2019-01-15' };
    expect(missingPrerequisites({ goFor }, machine(old))).toEqual([
      expect.stringMatching(/^Java 17 or newer is needed to run Keycloak, and found is 11\.0\.2: install .*\.$/),
    ]);
  });

  it("names everything at once on an empty machine", () => {
    expect(missingPrerequisites({ goFor }, machine({}))).toHaveLength(3);
  });
});
