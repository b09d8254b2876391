import { apiserver } from "./apiserver.ts";
import { controllerManager } from "./controller-manager.ts";
import { etcd } from "./etcd.ts";
import { node, scheduler } from "./node.ts";
import { kustomizeController, sourceController } from "./flux.ts";
import { gitea } from "./gitea.ts";
import { keycloak } from "./keycloak.ts";
import { nats } from "./nats.ts";
import { newapi } from "./newapi.ts";
import type { Part, PartName } from "./part.ts";
import { postgres } from "./postgres.ts";

const all: Readonly<Record<PartName, Part>> = {
  etcd,
  apiserver,
  "controller-manager": controllerManager,
  "source-controller": sourceController,
  "kustomize-controller": kustomizeController,
  gitea,
  keycloak,
  postgres,
  nats,
  newapi,
  scheduler,
  node,
};

export const partOf = (name: PartName): Part => all[name];

export const parts = (withNode: boolean): Part[] =>
  Object.values(all).filter((part) => (part.present?.() ?? true) && (withNode || part.ofNode !== true));
