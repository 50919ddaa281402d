//! The operations of an edit (table of `edits` in `wit/v0.2/plugin.wit`).

use crate::api::effects;

/// Operations on a record; the discriminants are the interface's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Op {
    Drop = 0,
    SetKey = 1,
    SetValue = 2,
    SetField = 3,
    InsertField = 4,
    SetHeader = 5,
    RemoveHeader = 6,
    AppendHeader = 7,
    AppendNullHeader = 8,
    SetTimestamp = 9,
    SetTopic = 10,
    SetPartition = 11,
    HashPartition = 12,
    Reject = 13,
    Emit = 14,
    OfRule = 15,
}

impl TryFrom<u32> for Op {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        Ok(match number {
            0 => Self::Drop,
            1 => Self::SetKey,
            2 => Self::SetValue,
            3 => Self::SetField,
            4 => Self::InsertField,
            5 => Self::SetHeader,
            6 => Self::RemoveHeader,
            7 => Self::AppendHeader,
            8 => Self::AppendNullHeader,
            9 => Self::SetTimestamp,
            10 => Self::SetTopic,
            11 => Self::SetPartition,
            12 => Self::HashPartition,
            13 => Self::Reject,
            14 => Self::Emit,
            15 => Self::OfRule,
            _ => return Err(format!("operation {number} does not exist")),
        })
    }
}

impl Op {
    /// Returns the effect that the plugin must have asked for.
    pub(super) fn effect(self) -> u32 {
        match self {
            Self::Drop => effects::DROP,
            Self::SetKey => effects::KEY,
            Self::SetValue => effects::VALUE,
            Self::SetField | Self::InsertField => effects::FIELD,
            Self::SetHeader | Self::RemoveHeader | Self::AppendHeader | Self::AppendNullHeader => effects::HEADER,
            Self::SetTimestamp => effects::TIMESTAMP,
            Self::SetTopic => effects::TOPIC,
            Self::SetPartition | Self::HashPartition => effects::PARTITION,
            Self::Reject | Self::OfRule => effects::REJECT,
            Self::Emit => effects::EMIT,
        }
    }

    pub(super) fn takes_null(self) -> bool {
        matches!(self, Self::SetKey | Self::SetValue | Self::SetField | Self::SetHeader)
    }

    pub(super) fn takes_bytes(self) -> bool {
        !matches!(self, Self::Drop | Self::RemoveHeader | Self::SetPartition | Self::Emit | Self::OfRule)
    }

    pub(super) fn takes_argument(self) -> bool {
        matches!(
            self,
            Self::SetField
                | Self::InsertField
                | Self::SetHeader
                | Self::RemoveHeader
                | Self::AppendHeader
                | Self::SetPartition
                | Self::Reject
                | Self::OfRule
        )
    }
}
