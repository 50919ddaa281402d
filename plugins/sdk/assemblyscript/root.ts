// The entry of the module: the plugin of plugin.ts, and the exports that the host calls.

import { plugin } from "../plugin";
import { install } from "./abi";

export { configure, describe, openTopic, process, realloc, release } from "./abi";

install(plugin());
