// Gives the exports of root.ts their names in the interface, which are no identifiers.

const TRANSFORM = "strait:plugin/transform@0.2.0#";
const NAMES = { describe: "describe", configure: "configure", openTopic: "open-topic", process: "process" };

export default class {
  afterCompile(module) {
    const rename = (from, to) => {
      module.removeExport(from);
      for (const name of to) module.addFunctionExport(`sdk/abi/${from}`, name);
    };
    for (const [from, name] of Object.entries(NAMES)) rename(from, [TRANSFORM + name]);
    rename("realloc", ["cabi_realloc"]);
    rename("release", Object.values(NAMES).map((name) => `cabi_post_${TRANSFORM}${name}`));
  }
}
