//! Hand-written guests, good and hostile: core modules that use the layout of the interface alone.
//!
//! The answers of describe, open-topic and process are laid out here by the canonical ABI, so
//! that the tests also prove that `plugin.wit` can be used without an SDK.

/// Start of the static data in the guest's memory.
const BASE: usize = 1024;

/// A guest, described by its answers.
#[derive(Clone)]
pub struct Guest {
    /// Of the interface.
    pub version: &'static str,
    /// Its own version.
    pub release: &'static str,
    pub effects: u32,
    pub fails_closed: bool,
    pub schema: &'static str,
    pub counters: Vec<&'static str>,
    pub reject_codes: Vec<&'static str>,
    pub rename: Option<&'static str>,
    pub looks: bool,
    pub columns: Vec<u32>,
    pub headers: Vec<&'static [u8]>,
    pub all_headers: bool,
    pub fields: Vec<&'static str>,
    pub topic_effects: u32,
    pub output_topics: Vec<&'static str>,
    pub value_max_bytes: u32,
    /// Records and milliseconds.
    pub lookback: Option<(u32, u32)>,
    /// Result of open-topic that replaces all of the above.
    pub open_topic_fails: Option<&'static str>,
    /// Statements run before configure and process answer.
    pub in_configure: String,
    pub in_process: String,
    pub in_describe: String,
    pub in_open_topic: String,
    /// Further parts of the module.
    pub parts: &'static str,
    /// How many headers open-topic names and counters describe declares, all of them the same
    /// bytes, and how many bytes.
    pub aliases: Option<(u32, u32)>,
    /// Statements of a start function.
    pub in_start: String,
    pub config_errors: Vec<(&'static str, &'static str)>,
    pub process: Process,
    pub import: &'static str,
    /// An exported function to leave out.
    pub without: &'static str,
    /// `(min max)` pages of memory.
    pub memory: &'static str,
}

/// The answer of process.
#[derive(Clone)]
pub enum Process {
    /// These edits.
    Edits(Vec<u32>, Vec<u8>),
    /// An error.
    Fails(&'static str),
    /// Edits whose lists claim these lengths, whatever the memory holds.
    Claims { ops: u32, data: u32 },
    /// The edits that the key of the batch's first record holds: how many numbers, how many bytes,
    /// the numbers, the bytes. Column 4 has to be the first.
    Puppet,
    /// Record 0 gets the batch's data as its value, the directory as its key, the base offset as
    /// its timestamp and the topic as a header.
    Echo,
}

/// Statements that never end.
pub const SPIN: &str = "(loop $spin (br $spin))";
/// Statements that grow the memory until that fails, then trap.
pub const GROW: &str = "(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
/// An endless recursion.
pub const RECURSE: &str = "(drop (call $recurse))";

impl Default for Guest {
    fn default() -> Self {
        Self {
            version: "0.1.0",
            release: "1",
            effects: 0x3ff,
            fails_closed: false,
            schema: "",
            counters: vec!["seen"],
            reject_codes: vec!["bad"],
            rename: None,
            looks: true,
            columns: vec![3, 4],
            headers: vec![],
            all_headers: false,
            fields: vec![],
            topic_effects: 0x3ff,
            output_topics: vec![],
            value_max_bytes: 0,
            lookback: None,
            open_topic_fails: None,
            in_configure: String::new(),
            in_process: String::new(),
            in_describe: String::new(),
            in_open_topic: String::new(),
            parts: "",
            aliases: None,
            in_start: String::new(),
            config_errors: vec![],
            process: Process::Edits(vec![], vec![]),
            import: "",
            without: "-",
            memory: "32",
        }
    }
}

/// A memory image that grows upwards.
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = BASE + self.0.len();
        self.0.extend_from_slice(bytes);
        at as u32
    }

    /// Pointer and length of a list of bytes.
    fn bytes(&mut self, bytes: &[u8]) -> [u32; 2] {
        [self.put(bytes), bytes.len() as u32]
    }

    fn u32s(&mut self, list: &[u32]) -> [u32; 2] {
        let bytes: Vec<u8> = list.iter().flat_map(|n| n.to_le_bytes()).collect();
        [self.put(&bytes), list.len() as u32]
    }

    fn list<T: AsRef<[u8]>>(&mut self, list: &[T]) -> [u32; 2] {
        let pairs: Vec<u32> = list.iter().flat_map(|item| self.bytes(item.as_ref())).collect();
        [self.u32s(&pairs)[0], list.len() as u32]
    }
}

impl Guest {
    /// The binary core module.
    pub fn wasm(&self) -> Vec<u8> {
        wat::parse_str(self.wat()).unwrap()
    }

    fn wat(&self) -> String {
        let mut image = Image(Vec::new());
        let describe = self.describe(&mut image);
        let configure = self.configure(&mut image);
        let open_topic = self.open_topic(&mut image);
        let process = self.process(&mut image);
        let data: String = image.0.iter().map(|b| format!("\\{b:02x}")).collect();
        let start = if self.in_start.is_empty() {
            String::new()
        } else {
            format!("(func $start {}) (start $start)", self.in_start)
        };
        let export = |name: &str| {
            if self.without == name {
                return String::new();
            }
            format!("(export \"strait:plugin/transform@{}#{name}\")", self.version)
        };
        format!(
            r#"(module {import}
  (import "strait:plugin/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "strait:plugin/host@0.1.0" "count" (func $count (param i32 i64)))
  (memory (export "memory") {memory})
  (global $heap (mut i32) (i32.const 1048576))
  (data (i32.const {BASE}) "{data}")
  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $recurse (result i32) (i32.add (call $recurse) (i32.const 1)))
  {parts}
  {start}
  (func {e_describe} (result i32) {in_describe} (i32.const {describe}))
  (func {e_configure} (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    {in_configure} (i32.const {configure}))
  (func {e_open} (param i32 i32 i32) (result i32) {in_open_topic} (i32.const {open_topic}))
  (func {e_process} (param $topic i32) (param $topic_len i32) (param $partition i32) (param $count i32) (param $base i64)
    (param $mode i32) (param $origins i32) (param $origins_len i32) (param $columns i32) (param $columns_len i32)
    (param $data i32) (param $data_len i32) (result i32) (local $p i32)
    {in_process} {process})
  (func (export "cabi_post_strait:plugin/transform@{version}#process") (param i32) (global.set $heap (i32.const 1048576)))
)"#,
            import = self.import,
            memory = self.memory,
            version = self.version,
            e_describe = export("describe"),
            e_configure = export("configure"),
            e_open = export("open-topic"),
            e_process = export("process"),
            in_configure = self.in_configure,
            in_describe = self.in_describe,
            in_open_topic = self.in_open_topic,
            parts = self.parts,
            in_process = self.in_process,
        )
    }

    fn describe(&self, image: &mut Image) -> u32 {
        let mut about = Vec::new();
        for text in ["hand-made", self.release, "a test", self.schema] {
            about.extend(image.bytes(text.as_bytes()));
        }
        about.extend([self.effects, u32::from(self.fails_closed)]);
        about.extend(self.aliased(image).unwrap_or_else(|| image.list(&self.counters)));
        about.extend(image.list(&self.reject_codes));
        image.u32s(&about)[0]
    }

    /// A list whose items all alias the same bytes: little for the guest, much for whoever copies
    /// it.
    fn aliased(&self, image: &mut Image) -> Option<[u32; 2]> {
        let (count, len) = self.aliases?;
        let pairs: Vec<u32> = (0..count).flat_map(|_| [BASE as u32, len]).collect();
        Some([image.u32s(&pairs)[0], count])
    }

    fn configure(&self, image: &mut Image) -> u32 {
        let pairs: Vec<&str> = self.config_errors.iter().flat_map(|(path, message)| [*path, *message]).collect();
        let list = image.list(&pairs)[0];
        image.u32s(&[u32::from(!pairs.is_empty()), list, self.config_errors.len() as u32])[0]
    }

    fn open_topic(&self, image: &mut Image) -> u32 {
        if let Some(message) = self.open_topic_fails {
            let [at, len] = image.bytes(message.as_bytes());
            return image.u32s(&[1, 0, at, len])[0];
        }
        // The payload is aligned to 8, as `lookback` has an u64.
        let mut plan = vec![0, 0];
        let name = self.rename.map(|name| image.bytes(name.as_bytes()));
        plan.push(u32::from(name.is_some()));
        plan.extend(name.unwrap_or_default());
        plan.push(0);
        plan.extend([u32::from(self.looks), 0]);
        plan.extend(image.u32s(&self.columns));
        plan.extend(self.aliased(image).unwrap_or_else(|| image.list(&self.headers)));
        plan.push(u32::from(self.all_headers));
        plan.extend(image.list(&self.fields));
        plan.push(self.topic_effects);
        plan.extend(image.list(&self.output_topics));
        plan.extend([self.value_max_bytes, 0]);
        let (records, millis) = self.lookback.unwrap_or_default();
        plan.extend([u32::from(self.lookback.is_some()), 0, records, 0, millis, 0]);
        image.u32s(&plan)[0]
    }

    fn process(&self, image: &mut Image) -> String {
        match &self.process {
            Process::Edits(ops, data) => {
                let ([ops, ops_len], [data, data_len]) = (image.u32s(ops), image.bytes(data));
                format!("(i32.const {})", image.u32s(&[0, ops, ops_len, data, data_len])[0])
            }
            Process::Fails(message) => {
                let [at, len] = image.bytes(message.as_bytes());
                format!("(i32.const {})", image.u32s(&[1, at, len])[0])
            }
            Process::Claims { ops, data } => {
                format!("(i32.const {})", image.u32s(&[0, BASE as u32, *ops, BASE as u32, *data])[0])
            }
            Process::Echo => echo(image),
            Process::Puppet => {
                let result = image.u32s(&[0; 5])[0];
                format!(
                    r#"(i32.store (i32.const {ops}) (i32.add (local.get $data) (i32.const 8)))
    (i32.store (i32.const {ops_len}) (i32.load (local.get $data)))
    (i32.store (i32.const {bytes}) (i32.add (i32.add (local.get $data) (i32.const 8))
      (i32.shl (i32.load (local.get $data)) (i32.const 2))))
    (i32.store (i32.const {bytes_len}) (i32.load offset=4 (local.get $data)))
    (i32.const {result})"#,
                    ops = result + 4,
                    ops_len = result + 8,
                    bytes = result + 12,
                    bytes_len = result + 16,
                )
            }
        }
    }
}

fn echo(image: &mut Image) -> String {
    // value, key, timestamp, header named "topic"; lengths are filled in.
    let [ops, ops_len] = image.u32s(&[0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 8, 0, 7, 5, 0]);
    let result = image.u32s(&[0, ops, ops_len, 0, 0])[0];
    let name = image.put(b"topic");
    let advance = |len: &str| format!("(local.set $p (i32.add (local.get $p) {len}))");
    let directory_len = "(i32.shl (local.get $columns_len) (i32.const 2))";
    format!(
        r#"(i32.store (i32.const {value_len}) (local.get $data_len))
    (i32.store (i32.const {key_len}) {directory_len})
    (i32.store (i32.const {header_len}) (i32.add (i32.const 5) (local.get $topic_len)))
    (local.set $p (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 1048576)))
    (i32.store (i32.const {data_at}) (local.get $p))
    (memory.copy (local.get $p) (local.get $data) (local.get $data_len)) {a1}
    (memory.copy (local.get $p) (local.get $columns) {directory_len}) {a2}
    (i64.store (local.get $p) (local.get $base)) {a3}
    (memory.copy (local.get $p) (i32.const {name}) (i32.const 5)) {a4}
    (memory.copy (local.get $p) (local.get $topic) (local.get $topic_len)) {a5}
    (i32.store (i32.const {data_len_at}) (i32.sub (local.get $p) (i32.load (i32.const {data_at}))))
    (i32.const {result})"#,
        value_len = ops + 12,
        key_len = ops + 28,
        header_len = ops + 60,
        data_at = result + 12,
        data_len_at = result + 16,
        a1 = advance("(local.get $data_len)"),
        a2 = advance(directory_len),
        a3 = advance("(i32.const 8)"),
        a4 = advance("(i32.const 5)"),
        a5 = advance("(local.get $topic_len)"),
    )
}
