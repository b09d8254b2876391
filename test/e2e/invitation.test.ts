/** The invitation, with a real mail server behind a real Keycloak: who was refused a mail gets it later, and once. */
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";

import { type MailServer, startMailServer } from "../support/mailServer.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let platform: Platform;
let tenant: TestTenant;
let post: MailServer;

beforeAll(async () => {
  post = await startMailServer();
  platform = await openPlatform();
  tenant = await platform.tenant("invited");
  const { admin, realm } = tenant.realm;
  const smtpServer = { host: "127.0.0.1", port: String(post.port), from: "no-reply@example.org" };
  await admin.realms.update({ realm }, { smtpServer });
});
afterAll(async () => {
  await platform?.close();
  await post?.stop();
});

/** The refused mail is tried again after half a minute, by itself. */
const LATER_MS = 100_000;

describe("a mail server", () => {
  it.each([
    { what: "is down", break: () => post.stop(), heal: () => post.start() },
    {
      what: "answers 550",
      break: () => Promise.resolve(post.refuse(true)),
      heal: () => Promise.resolve(post.refuse(false)),
    },
  ])("that $what holds nobody up, and the mail arrives when it takes mails again, once", async (server) => {
    const name = server.what.replaceAll(" ", "-");
    const address = tenant.email(name);
    await server.break();
    await tenant.apply(name, { invitation: "Email" });
    const person = await tenant.person(name);
    expect(await platform.opens(person.apiKey)).toBe(200);
    const { message } = await tenant.says(name, "InvitationSent", "False", "InvitationRefused");
    expect(message).toContain("The invitation was not sent. The reconciler retries at ");
    expect(post.mails(address)).toEqual([]);
    expect(post.refusals(address)).toBe(server.what === "answers 550" ? 1 : 0);

    await server.heal();
    await soon(async () => assert.equal(post.mails(address).length, 1), LATER_MS);
    expect(post.mails(address)[0]?.text).toContain("/login-actions/action-token?key=");
    await tenant.says(name, "InvitationSent", "True", "InvitationSent");
    await tenant.apply(name, { invitation: "Email", displayName: "Somebody else to look at" });
    expect(await tenant.person(name)).toEqual(person);
    expect(post.mails(address)).toHaveLength(1);
  });
});

describe("a person who is invited while disabled", () => {
  it("gets the mail when enabled, once, and none before", async () => {
    const address = tenant.email("later");
    await tenant.apply("later", { invitation: "Email", enabled: false });
    await tenant.says("later", "Ready", "True", "Disabled");
    const { message } = await tenant.says("later", "InvitationSent", "False", "Disabled");
    expect(message).toBe("Keycloak mails the invitation when the user is enabled.");
    expect(post.mails(address)).toEqual([]);
    await tenant.apply("later", { invitation: "Email" });
    await tenant.says("later", "InvitationSent", "True", "InvitationSent");
    expect(post.mails(address)).toHaveLength(1);
    await tenant.apply("later", { invitation: "Email", enabled: false });
    await tenant.says("later", "Ready", "True", "Disabled");
    await tenant.apply("later", { invitation: "Email" });
    await tenant.ready("later");
    expect(post.mails(address)).toHaveLength(1);
  });
});
