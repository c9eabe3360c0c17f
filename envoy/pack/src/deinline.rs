//! The post-link step of `make wasm`: direct calls become indirect ones.
//!
//! Envoy's Wasm host compiles a whole module when it starts, with V8's optimising compiler and
//! without Liftoff. Without Liftoff V8 knows no call counts, and inlines direct calls in the order
//! in which they stand until a budget is spent: the allocator and the panic machinery, again and
//! again. An indirect call is never inlined there. rustc has inlined what is worth it before.
//!
//! ```text
//!   before                      after
//!   call $large                 i32.const SLOT
//!                               call_indirect (type of $large)
//!   (table N)                   (table N + k)
//!   (elem …)                    (elem …) (elem (offset N) $large …)
//! ```
//!
//! `docs/start-up.md` has what it gains. The same module in gives the same bytes out.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, Function, Instruction, TableSection,
};
use wasmparser::{Operator, Parser, Payload, TypeRef};

/// The same module with indirect calls of its large functions.
///
/// # Errors
///
/// If it is no module, or has no table of its own for its function pointers. What rustc links has one.
pub fn deinline(module: &[u8]) -> Result<Vec<u8>> {
    let slots = Slots::of(module)?;
    let mut indirect = Indirect { slots, function: 0 };
    indirect.function = indirect.slots.imports;
    let mut written = wasm_encoder::Module::new();
    indirect
        .parse_core_module(&mut written, Parser::new(0), module)
        .map_err(|error| match error {
            reencode::Error::ParseError(error) => anyhow::Error::from(error),
            other => anyhow::Error::msg(other.to_string()),
        })?;
    Ok(written.finish())
}

/// Where the functions whose calls become indirect stand in the table.
struct Slots {
    /// How many functions are imported: the first of the module's own has this index.
    imports: u32,
    /// By a function's index: its slot and its type.
    of: BTreeMap<u32, (u32, u32)>,
    /// The first of the slots: how many the table had.
    first: u32,
}

impl Slots {
    fn of(module: &[u8]) -> Result<Self> {
        let mut imports = 0;
        let mut types = Vec::new();
        let mut table = None;
        let mut has_elements = false;
        let mut large = Vec::new();
        let mut called = BTreeSet::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) => imports += 1,
                            TypeRef::Table(_) => anyhow::bail!("its table is imported"),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    types = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::TableSection(section) => {
                    let first = section.into_iter().next().context("it has no table")??;
                    table = Some(u32::try_from(first.ty.initial)?);
                }
                Payload::ElementSection(_) => has_elements = true,
                Payload::CodeSectionEntry(body) => {
                    // V8 inlines no function into itself.
                    let itself = imports + u32::try_from(large.len())?;
                    for operator in body.get_operators_reader()? {
                        if let Operator::Call { function_index } = operator?
                            && function_index != itself
                        {
                            called.insert(function_index);
                        }
                    }
                    let range = body.range();
                    large.push(range.end - range.start >= MIN_BYTES);
                }
                _ => {}
            }
        }
        ensure!(has_elements, "it has no elements");
        let first = table.context("it has no table")?;
        let own = (imports..).zip(types.iter().zip(&large));
        let moved = own.filter(|(index, (_, large))| **large && called.contains(index));
        let of = moved
            .zip(first..)
            .map(|((index, (ty, _)), slot)| (index, (slot, *ty)))
            .collect();
        Ok(Self { imports, of, first })
    }

    fn len(&self) -> u64 {
        self.of.len() as u64
    }
}

/// Writes what it reads, with indirect calls.
struct Indirect {
    slots: Slots,
    /// The index of the function whose body comes next.
    function: u32,
}

type Done = Result<(), reencode::Error<Infallible>>;

impl Reencode for Indirect {
    type Error = Infallible;

    fn parse_table_section(
        &mut self,
        tables: &mut TableSection,
        section: wasmparser::TableSectionReader<'_>,
    ) -> Done {
        for (number, table) in section.into_iter().enumerate() {
            let mut table = table?;
            if number == 0 {
                table.ty.initial += self.slots.len();
                table.ty.maximum = table.ty.maximum.map(|it| it + self.slots.len());
            }
            self.parse_table(tables, table)?;
        }
        Ok(())
    }

    fn parse_element_section(
        &mut self,
        elements: &mut ElementSection,
        section: wasmparser::ElementSectionReader<'_>,
    ) -> Done {
        reencode::utils::parse_element_section(self, elements, section)?;
        if self.slots.len() > 0 {
            let functions: Vec<u32> = self.slots.of.keys().copied().collect();
            let offset = ConstExpr::i32_const(self.slots.first.cast_signed());
            elements.active(None, &offset, Elements::Functions(functions.into()));
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Done {
        let mut function: Function = self.new_function_with_parsed_locals(&body)?;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            let slot = match operator {
                Operator::Call { function_index } if function_index != self.function => {
                    self.slots.of.get(&function_index)
                }
                _ => None,
            };
            match slot {
                Some(&(slot, type_index)) => {
                    function.instruction(&Instruction::I32Const(slot.cast_signed()));
                    function.instruction(&Instruction::CallIndirect {
                        type_index,
                        table_index: 0,
                    });
                }
                None => {
                    function.instruction(&self.instruction(operator)?);
                }
            }
        }
        self.function += 1;
        code.function(&function);
        Ok(())
    }
}

/// Unit: bytes of a function's body. Calls of smaller ones stay: inlining them costs nothing.
const MIN_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ExportKind, ExportSection, FunctionSection, ImportSection, RefType, TableType, TypeSection,
        ValType,
    };
    use wasmparser::{ElementItems, ElementKind};

    use super::*;

    /// Index 0 is imported, 1 is small, 2 is large and calls itself, 3 is large and calls all.
    fn module() -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([ValType::I32], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import("env", "log", wasm_encoder::EntityType::Function(0));
        let mut functions = FunctionSection::new();
        functions.function(0).function(1).function(0);
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: 2,
            maximum: Some(2),
            table64: false,
            shared: false,
        });
        let mut exports = ExportSection::new();
        exports.export("all", ExportKind::Func, 3);
        let mut elements = ElementSection::new();
        let one = ConstExpr::i32_const(1);
        elements.active(None, &one, Elements::Functions(vec![1].into()));
        let small = [Instruction::End];
        let mut large = vec![Instruction::LocalGet(0), Instruction::Call(2)];
        large.extend(vec![Instruction::Nop; 40]);
        large.push(Instruction::End);
        let mut all = vec![
            Instruction::Call(0),
            Instruction::Call(1),
            Instruction::I32Const(7),
            Instruction::Call(2),
            Instruction::Drop,
        ];
        all.extend(vec![Instruction::Nop; 40]);
        all.push(Instruction::End);
        let mut code = CodeSection::new();
        for body in [&small[..], &large, &all] {
            let mut function = Function::new([]);
            for instruction in body {
                function.instruction(instruction);
            }
            code.function(&function);
        }
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&imports).section(&functions);
        module.section(&tables).section(&exports).section(&elements);
        module.section(&code);
        module.finish()
    }

    /// What each function calls, directly by `call N` and through the table by `slot N type T`.
    fn calls(module: &[u8]) -> Vec<String> {
        let mut calls = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            let Payload::CodeSectionEntry(body) = payload.unwrap() else {
                continue;
            };
            let mut constant = 0;
            let mut of_function = Vec::new();
            for operator in body.get_operators_reader().unwrap() {
                match operator.unwrap() {
                    Operator::I32Const { value } => constant = value,
                    Operator::Call { function_index } => {
                        of_function.push(format!("call {function_index}"));
                    }
                    Operator::CallIndirect { type_index, .. } => {
                        of_function.push(format!("slot {constant} type {type_index}"));
                    }
                    _ => {}
                }
            }
            calls.push(of_function.join(", "));
        }
        calls
    }

    #[test]
    fn calls_of_large_functions_go_through_the_table_and_all_others_stay() {
        let module = module();
        assert_eq!(calls(&module), ["", "call 2", "call 0, call 1, call 2"]);
        let written = deinline(&module).unwrap();
        assert_eq!(
            calls(&written),
            ["", "call 2", "call 0, call 1, slot 2 type 1"]
        );
        wasmparser::validate(&written).unwrap();
    }

    #[test]
    fn the_table_grows_by_the_functions_that_are_called_through_it() {
        let written = deinline(&module()).unwrap();
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&written) {
            match payload.unwrap() {
                Payload::TableSection(tables) => {
                    let table = tables.into_iter().next().unwrap().unwrap().ty;
                    assert_eq!((table.initial, table.maximum), (3, Some(3)));
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        let element = element.unwrap();
                        let ElementKind::Active { offset_expr, .. } = element.kind else {
                            panic!("not active");
                        };
                        let offset = offset_expr.get_operators_reader().read().unwrap();
                        let ElementItems::Functions(functions) = element.items else {
                            panic!("no functions");
                        };
                        let functions: Vec<u32> =
                            functions.into_iter().map(Result::unwrap).collect();
                        found.push((format!("{offset:?}"), functions));
                    }
                }
                _ => {}
            }
        }
        let slot = |value: u32| format!("I32Const {{ value: {value} }}");
        assert_eq!(found, [(slot(1), vec![1]), (slot(2), vec![2])]);
    }

    #[test]
    fn the_same_module_gives_the_same_bytes_and_a_second_pass_changes_nothing() {
        let once = deinline(&module()).unwrap();
        assert_eq!(deinline(&module()).unwrap(), once);
        assert_eq!(deinline(&once).unwrap(), once);
    }

    #[test]
    fn what_cannot_be_rewritten_is_refused() {
        let error = |bytes: &[u8]| deinline(bytes).unwrap_err().to_string();
        assert!(error(b"no module").contains("magic"));
        assert_eq!(error(b"\0asm\x01\0\0\0"), "it has no elements");
    }
}
