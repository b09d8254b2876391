/** Where a release comes from, as a SLSA provenance (https://slsa.dev/spec/v1.0/provenance). */
export interface Origin {
  readonly version: string;
  /** The Git commit. */
  readonly commit: string;
  /** Where that commit can be fetched; absent: nowhere that we know. */
  readonly repository?: string | undefined;
  /** Who built it; in CI the workflow's run. */
  readonly builder: string;
}

export const BUILD_TYPE = "urn:unified-rbac:make-release:v1";

export function provenance({ version, commit, repository, builder }: Origin) {
  const uri = repository === undefined ? "git" : `git+${repository}`;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: { version },
      resolvedDependencies: [{ uri: `${uri}@refs/tags/v${version}`, digest: { gitCommit: commit } }],
    },
    runDetails: { builder: { id: builder } },
  };
}
