// SPDX-License-Identifier: GPL-2.0

//! Names for a kernel's addresses, from its System.map. Machines boot without address
//! randomisation, so the addresses hold as they are. Modules are not in there.

use std::fs;
use std::path::Path;

/// Symbols by ascending address.
#[derive(Debug, Default)]
pub struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// Reads a System.map. Without one, no address has a name.
    pub fn load(path: Option<&Path>) -> Self {
        let text = path.and_then(|path| fs::read_to_string(path).ok());
        Self::parse(&text.unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut symbols: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let address = u64::from_str_radix(words.next()?, 16).ok()?;
                let kind = words.next()?;
                let name = words.next()?.to_owned();
                kind.eq_ignore_ascii_case("t").then_some((address, name))
            })
            .collect();
        symbols.sort();
        Self(symbols)
    }

    /// Puts the name after each `RIP=<address>` of QEMU's `info registers`.
    pub fn annotate(&self, registers: &str) -> String {
        let mut text = String::new();
        for line in registers.lines() {
            text.push_str(line);
            if let Some(name) = instruction_pointer(line).and_then(|at| self.name(at)) {
                text.push_str("   <- ");
                text.push_str(&name);
            }
            text.push('\n');
        }
        text
    }

    /// `function+0x1f`.
    fn name(&self, address: u64) -> Option<String> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.0.get(after.checked_sub(1)?)?;
        // Beyond the last one are the modules.
        self.0.get(after)?;
        Some(format!("{name}+{:#x}", address - start))
    }
}

fn instruction_pointer(line: &str) -> Option<u64> {
    let word = line.split_whitespace().next()?;
    u64::from_str_radix(word.strip_prefix("RIP=")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    #[test]
    fn an_address_is_named_after_the_function_before_it() {
        let map = "ffffffff81000000 T first\nffffffff81000100 t second\n\
                   ffffffff81000180 D data\nffffffff81000200 T last\n";
        let symbols = Symbols::parse(map);
        let named = |at: &str| symbols.annotate(&format!("CPU#0\nRIP={at} RFL=00000246\n"));
        assert!(named("ffffffff81000190").ends_with("<- second+0x90\n"));
        assert!(named("ffffffff81000000").ends_with("<- first+0x0\n"));
        assert!(named("0000000000401000").ends_with("RFL=00000246\n"));
        assert!(named("ffffffffc0000000").ends_with("RFL=00000246\n"));
    }
}
