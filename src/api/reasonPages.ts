/** What the pages say about reasons: a section of the runbook for each, and the lists of the tenant guide. */
import { OPERATOR_NAMESPACE } from "./meta.ts";
import { fillCommand, REASON_SECTIONS, USER_REASONS } from "./reasons.ts";
import { type Actor, ACTORS, type ReasonEntries, type ReasonEntry } from "./reasons/entry.ts";
import type { TenantSetup } from "./setupCommands.ts";

const SETUP: TenantSetup = {
  tenant: "TENANT",
  namespaces: ["NS"],
  keycloak: {
    url: "https://sso.example.com",
    realm: "REALM",
    credentialsSecretName: "TENANT-keycloak",
    defaultGroups: ["/sme-users"],
  },
  newapi: { credentialsSecretName: "TENANT-newapi", credentialKeys: ["token"] },
};

const ACTOR: Readonly<Record<Actor, string>> = { nobody: "nobody", tenant: "the tenant", platform: "the platform" };

export function reasonSections(): string {
  return REASON_SECTIONS.flatMap(({ title, entries }: { title: string; entries: ReasonEntries }) => [
    `## ${title}`,
    ...Object.entries(entries).map(([reason, entry]) => section(reason, entry)),
  ]).join("\n\n");
}

const HEADING: Readonly<Record<Actor, string>> = {
  nobody: "Nobody needs to act",
  tenant: "You act",
  platform: "The platform acts",
};

/** For people who commit: every reason that a user can show, by who acts. */
export function userReasonLists(): string {
  return ACTORS.flatMap((actor) => [
    `${HEADING[actor]}:`,
    USER_REASONS.filter(([, entry]) => entry.actor === actor)
      .map(([reason, { meaning }]) => `- [${reason}](runbook.md#${reason.toLowerCase()}): ${meaning}`)
      .join("\n"),
  ]).join("\n\n");
}

export function actorOf({ actor, actorNote }: ReasonEntry): string {
  return actorNote === undefined ? ACTOR[actor] : `${ACTOR[actor]}${actor === "nobody" ? ";" : ","} ${actorNote}`;
}

function section(reason: string, entry: ReasonEntry): string {
  const { meaning, detail, check, fix, command, alternative, remediation } = entry;
  const commands = remediation?.(SETUP) ?? [];
  const text = [
    `### ${reason}`,
    "",
    [meaning, detail].filter((part) => part !== undefined).join(" "),
    "",
    `- **Who acts:** ${actorOf(entry)}.`,
    `- **Check:** ${check}`,
    `- **Fix:** ${fix} \`${command}\`${alternative === undefined ? "" : `. ${alternative}`}`,
    ...(commands.length === 0 ? [] : ["", "```sh", ...commands, "```"]),
  ];
  return fillCommand(text.join("\n"), { OPERATOR: OPERATOR_NAMESPACE });
}

/** Replaces what stands between the two markers of that name; throws where they are missing. */
export function replaceBetweenMarkers(page: string, name: string, body: string): string {
  const begin = `<!-- BEGIN GENERATED: ${name} (npm run generate) -->`;
  const end = `<!-- END GENERATED: ${name} -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new TypeError(`the markers of ${name} are missing`);
  return `${page.slice(0, from)}${begin}\n\n${body}\n\n${page.slice(to)}`;
}
